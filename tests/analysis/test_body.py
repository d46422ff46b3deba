"""Bodies are read as browsers and the standards read them, whatever they contain."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.analysis.body import decode_json, decode_text

HTML = "text/html"


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        (b"caf\xc3\xa9", "text/plain", "café"),
        (b"caf\xe9", "text/plain", "caf\ufffd"),
        (b"caf\xe9", "text/plain; charset=ISO-8859-1", "café"),
        (b"\x80", "text/plain; \ud800; charset=iso-8859-1", "€"),
        (b"\x80", "text/plain; charset=iso-8859-1", "€"),
        (b"\x80", "text/plain; charset=us-ascii", "€"),
        (b"\xfd", "text/plain; charset=latin5", "\u0131"),
        (b"\xa4", 'text/plain; charset="ISO-8859-15"', "€"),
        (b"\x93\xfa", "text/plain; charset=Shift_JIS", "日"),
        (b"\xc4\xe3", "text/plain; charset=gb2312", "你"),
        (b"\xb0\xa1", "text/plain;charset=euc-kr", "가"),
        (b"h\x00i\x00", "text/plain; charset=utf-16", "hi"),
        (b"\xef\xbb\xbfcaf\xc3\xa9", "text/plain; charset=iso-8859-1", "café"),
        (b"\xff\xfeh\x00i\x00", "text/plain", "hi"),
        (b"\xfe\xff\x00h\x00i", "text/plain; charset=utf-8", "hi"),
        (b'<meta charset="windows-1251">\xcf', HTML, '<meta charset="windows-1251">П'),
        (b"<META a='b'\nCharset=koi8-r>\xf0", HTML, "<META a='b'\nCharset=koi8-r>П"),
        (
            b'<meta http-equiv="Content-Type" content="text/html; charset=windows-1251">\xcf',
            "",
            '<meta http-equiv="Content-Type" content="text/html; charset=windows-1251">П',
        ),
        (
            b'<meta name="x" content="charset=windows-1251">\xcf',
            HTML,
            '<meta name="x" content="charset=windows-1251">\ufffd',
        ),
        (
            b"<!-- <meta charset=windows-1251> -->\xcf",
            HTML,
            "<!-- <meta charset=windows-1251> -->\ufffd",
        ),
        (b"<meta charset=utf-16>\xc3\xa9", HTML, "<meta charset=utf-16>é"),
        (b"<meta charset=windows-1251>\xcf", "text/plain", "<meta charset=windows-1251>\ufffd"),
        (
            b'<?xml version="1.0" encoding="iso-8859-2"?>\xb1',
            "application/xml",
            '<?xml version="1.0" encoding="iso-8859-2"?>ą',
        ),
        (b"caf\xc3\xa9", "text/plain; charset=rot13", "café"),
        (b"caf\xc3\xa9", "text/plain; charset=utf-7", "café"),
        (
            b"<meta charset=windows-1251>\xcf",
            "text/html; charset=nonsense",
            "<meta charset=windows-1251>П",
        ),
    ],
)
def test_text_is_decoded_as_browsers_do(body, content_type, text):
    """The byte order mark decides, then the header, then the document itself, else it is UTF-8."""
    assert decode_text(body, content_type) == text


def test_a_declaration_counts_within_the_first_1024_bytes_only():
    """A document that names its character set later is read as UTF-8."""
    meta = b"<meta charset=windows-1251>"
    assert decode_text(b" " * (1024 - len(meta)) + meta + b"\xcf", HTML).endswith("П")
    assert decode_text(b" " * 1024 + meta + b"\xcf", HTML).endswith("\ufffd")


@given(
    st.binary(max_size=200),
    st.sampled_from(["", "text/html"])
    | st.sampled_from(["utf-16", "gb18030", "big5", "iso-2022-jp", "shift_jis", "euc-kr"]).map(
        "text/plain; charset={}".format
    )
    | st.text(max_size=40),
)
def test_no_bytes_are_too_odd_for_text(body, content_type):
    """Any bytes become text that can be encoded as UTF-8 again."""
    text = decode_text(body, content_type)
    assert text.encode().decode() == text


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b"9007199254740993", 9007199254740993),
        (b"-123456789012345678901234567890", -123456789012345678901234567890),
        (b"0.1", 0.1),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b"null", None),
        (b"[" * 500 + b"1" + b"]" * 500, None),
        (b"[" + b"[]," * 1000 + b"0]", [[]] * 1000 + [0]),
    ],
    ids=lambda value: str(value)[:30],
)
def test_json_is_read_by_the_standard(body, value):
    """A byte order mark is allowed, integers are exact, and of equal keys the last counts."""
    assert decode_json(body) == (value if value is not None else json.loads(body))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"<html>", "is not JSON: expecting value in line 1, column 1"),
        (b'{"a": 1,}', "is not JSON: "),  # the parser's words differ from version to version
        (b'{"a": 1', "is not JSON: expecting ',' delimiter in line 1, column 8"),
        (b'"a', "is not JSON: unterminated string starting at in line 1, column 1"),
        (b"[NaN]", "is not JSON, which has no NaN"),
        (b"-Infinity", "is not JSON, which has no -Infinity"),
        (b'"\xff"', "is not UTF-8 (byte 1)"),
        (b'"a"'.decode().encode("utf-16"), "is not UTF-8 (byte 0)"),
        (b"[" * 10_000 + b"]" * 10_000, "nests deeper than 500 levels"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "nests deeper than 500 levels"),
        (b"[" * 501 + b"]" * 501, "nests deeper than 500 levels"),
        (b"[" * 100_000, "nests deeper than 500 levels"),
        (b"1" * 5000, "has an integer of more digits than can be read"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_no_json_is_a_sentence(body, why):
    """Anything else gives a one-clause error, never a RecursionError."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the text is the point
        decode_json(body)
    assert str(caught.value).startswith(why)


@given(st.binary(max_size=100) | st.text(max_size=100).map(str.encode))
def test_json_is_a_value_or_a_sentence(body):
    """Any bytes give a value or an error of a known form."""
    try:
        decode_json(body)
        why = None
    except ValueError as error:
        why = str(error)
    assert why is None or why.startswith(("is ", "has ", "nests "))


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_every_json_document_is_read_exactly(value):
    """What was written as JSON comes back, halves of surrogate pairs included."""
    assert decode_json(json.dumps(value).encode()) == value
