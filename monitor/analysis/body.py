"""
Bodies as text and as JSON, decoded as in browsers and standards; no byte is trusted.

Runs in the worker processes; the evidence of a failure, a few KiB, is decoded in the main thread.
"""

import json
from collections.abc import Mapping
from typing import Any

from monitor.model import Answer, Bytes
from monitor.options import compile_regex
from monitor.protocols.facets import facet_of

_PRESCANNED = 1024
_DEEPEST = 500
"""
Levels of JSON nesting. Python's parser and the CEL library both recurse; the CEL library crashes
(a segmentation fault, not an exception) somewhere beyond 5,000 levels.
"""

_BYTE_ORDER_MARKS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xfe\xff", "utf-16-be"),
    (b"\xff\xfe", "utf-16-le"),
)

_LABELS: Mapping[str, str] = {
    "utf-8": "utf8 unicode-1-1-utf-8 unicode11utf8 unicode20utf8 x-unicode20utf8",
    "cp866": "866 csibm866 ibm866",
    "koi8-r": "cskoi8r koi koi8 koi8_r",
    "koi8-u": "koi8-ru",
    "mac-roman": "csmacintosh mac macintosh x-mac-roman",
    "mac-cyrillic": "x-mac-cyrillic x-mac-ukrainian",
    "cp874": "dos-874 iso-8859-11 iso8859-11 iso885911 tis-620 windows-874",
    "cp1252": (
        "ansi_x3.4-1968 ascii cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1 iso88591 "
        "iso_8859-1 iso_8859-1:1987 l1 latin1 us-ascii"
    ),
    "cp1254": (
        "csisolatin5 iso-8859-9 iso-ir-148 iso8859-9 iso88599 iso_8859-9 iso_8859-9:1989 l5 latin5"
    ),
    "iso-8859-2": "csisolatin2 iso-ir-101 iso_8859-2:1987 l2 latin2",
    "iso-8859-3": "csisolatin3 iso-ir-109 iso_8859-3:1988 l3 latin3",
    "iso-8859-4": "csisolatin4 iso-ir-110 iso_8859-4:1988 l4 latin4",
    "iso-8859-5": "csisolatincyrillic cyrillic iso-ir-144 iso_8859-5:1988",
    "iso-8859-6": (
        "arabic asmo-708 csiso88596e csiso88596i csisolatinarabic ecma-114 iso-8859-6-e "
        "iso-8859-6-i iso-ir-127 iso_8859-6:1987"
    ),
    "iso-8859-7": (
        "csisolatingreek ecma-118 elot_928 greek greek8 iso-ir-126 iso_8859-7:1987 sun_eu_greek"
    ),
    "iso-8859-8": (
        "csiso88598e csiso88598i csisolatinhebrew hebrew iso-8859-8-e iso-8859-8-i iso-ir-138 "
        "iso_8859-8:1988 logical visual"
    ),
    "iso-8859-10": "csisolatin6 iso-ir-157 l6 latin6",
    "iso-8859-13": "",
    "iso-8859-14": "",
    "iso-8859-15": "csisolatin9 l9",
    "iso-8859-16": "",
    "gb18030": "chinese csgb2312 csiso58gb231280 gb2312 gb_2312 gb_2312-80 gbk iso-ir-58 x-gbk",
    "big5hkscs": "big5 big5-hkscs cn-big5 csbig5 x-x-big5",
    "euc-jp": "cseucpkdfmtjapanese x-euc-jp",
    "iso-2022-jp": "csiso2022jp",
    "cp932": "csshiftjis ms932 ms_kanji shift-jis shift_jis sjis windows-31j x-sjis",
    "cp949": (
        "cseuckr csksc56011987 euc-kr iso-ir-149 korean ks_c_5601-1987 ks_c_5601-1989 ksc5601 "
        "ksc_5601 windows-949"
    ),
    "utf-16-be": "unicodefffe utf-16be",
    "utf-16-le": "csunicode iso-10646-ucs-2 ucs-2 unicode unicodefeff utf-16 utf-16le",
}
"""
Python's codec for each label of the WHATWG Encoding Standard, https://encoding.spec.whatwg.org.

A label from an answer is looked up here, never passed to codecs.lookup(), which also has
codecs that are not character sets (``rot13``, ``zlib``) and remembers every name.
"""

_WINDOWS = range(1250, 1259)
_ISO = (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)
_CODECS: Mapping[str, str] = {
    **{label: codec for codec, labels in _LABELS.items() for label in (codec, *labels.split())},
    **{
        f"{prefix}{page}": f"cp{page}" for page in _WINDOWS for prefix in ("cp", "windows-", "x-cp")
    },
    **{
        f"{prefix}{part}": f"iso-8859-{part}"
        for part in _ISO
        for prefix in ("iso8859-", "iso8859", "iso_8859-")
    },
}

# RE2, like every pattern for answers, because someone else chose these bytes
_CHARSET = compile_regex(r"""(?i);\s*charset\s*=\s*["']?\s*([^\s"';]+)""")
_COMMENT = compile_regex(r"(?s)<!--.*?-->", binary=True)
_META = compile_regex(r"(?is)<meta[\s/]([^>]*)", binary=True)
_ATTRIBUTE = compile_regex(
    r"""(?is)([^\s/=>"']+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", binary=True
)
_META_CHARSET = compile_regex(r"""(?i)charset\s*=\s*["']?\s*([^\s"';]+)""", binary=True)
_XML = compile_regex(r"""^<\?xml\s[^>]*?encoding\s*=\s*["']([^"']+)["']""", binary=True)


def decode_text(body: bytes, content_type: str) -> str:
    """
    Return the body as a browser would read it; invalid bytes become U+FFFD.

    The first of these decides: a byte-order mark, the ``charset`` of the content type, and the
    declaration of an HTML or XML document within its first 1,024 bytes. Without any, the body is
    UTF-8. The text has no surrogates.
    """
    for mark, codec in _BYTE_ORDER_MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(codec, "replace")
    # RE2 refuses surrogates with an exception
    found = _CHARSET.search(content_type.encode(errors="replace").decode())
    codec = (_CODECS.get(found[1].lower()) if found else None) or _declared(body, content_type)
    return body.decode(codec, "replace")


def _declared(body: bytes, content_type: str) -> str:
    kind = content_type.partition(";")[0].lower()
    head = body[:_PRESCANNED]
    label = b""
    if "xml" in kind or (not kind and head.startswith(b"<?xml")):
        found = _XML.search(head)
        label = found[1] if found else b""
    if not label and ("html" in kind or not kind):
        label = _meta_charset(_COMMENT.sub(b"", head))
    codec = _CODECS.get(label.decode("latin-1").strip().lower(), "utf-8")
    # A declaration that could be read as ASCII is not in UTF-16; the standard has the same rule
    return "utf-8" if codec.startswith("utf-16") else codec


def _meta_charset(head: bytes) -> bytes:
    for tag in _META.finditer(head):
        values: dict[bytes, bytes] = {}
        for name, double, single, bare in _ATTRIBUTE.findall(tag[1]):
            values.setdefault(name.lower(), double or single or bare)
        if b"charset" in values:
            return values[b"charset"]
        if values.get(b"http-equiv", b"").lower() == b"content-type":
            found = _META_CHARSET.search(values.get(b"content", b""))
            if found:
                return bytes(found[1])
    return b""


def as_text(answer: Answer, first: Bytes) -> str:
    """
    Return the beginning of an answer as text; empty if its protocol has no text.

    Args:
        first: How many bytes are decoded.
    """
    data, content_type = facet_of(answer).evidence(answer)
    if content_type is None:
        return data[:first].decode(errors="replace")
    return decode_text(data[:first], content_type)


def decode_json(body: bytes) -> Any:
    """
    Return the JSON document (RFC 8259): UTF-8, a byte-order mark allowed, the last of equal keys.

    Integers of any size are exact; nesting is limited to 500 levels.

    Raises:
        ValueError: It is not JSON, or exceeds a limit; the message is a clause on the body.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 (byte {error.start})") from error
    if not text.strip():
        raise ValueError("is empty")
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        reason = f"{error.msg[0].lower()}{error.msg[1:]}"
        place = f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"is not JSON: {reason} in {place}") from error
    except _ConstantError as error:
        raise ValueError(f"is not JSON, which has no {error}") from error
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    except ValueError as error:
        # Python's guard against quadratic time, sys.get_int_max_str_digits()
        raise ValueError("has an integer of more digits than can be read") from error
    # Fewer brackets in all than the limit mean fewer levels, too
    if text.count("[") + text.count("{") > _DEEPEST and _deeper_than(value, _DEEPEST):
        raise ValueError(_TOO_DEEP)
    return value


_TOO_DEEP = f"nests deeper than {_DEEPEST} levels"


class _ConstantError(Exception):
    """Python's parser would accept NaN and Infinity as numbers."""


def _refuse_constant(name: str) -> Any:
    raise _ConstantError(name)


def _deeper_than(value: Any, levels: int) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True
