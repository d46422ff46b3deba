"""A failure as text for people: everything ``report`` knows about it, on indented lines."""

from collections.abc import Iterator
from typing import Any

from monitor.model import Result
from monitor.report import result_json

_IN_THE_HEADLINE = ("site", "up", "reason", "message", "time")


def evidence(result: Result) -> str:
    """
    Return a headline for a failure and what was seen, down to the beginning of the body.

    Sites write parts of this, so control characters are escaped: they could drive a terminal.
    """
    form = result_json(result)
    headline = f"{form['time']} {form['reason']}: {form['message']}"
    rest = {key: value for key, value in form.items() if key not in _IN_THE_HEADLINE}
    return "".join(f"{_printable(line)}\n" for line in (headline, *_lines(rest, "  ")))


def _lines(form: dict[str, Any], indent: str) -> Iterator[str]:
    for key, value in form.items():
        if value is None or value in ([], {}):
            continue
        match value:
            case dict():
                yield f"{indent}{key}:"
                yield from _lines(value, indent + "  ")
            case [dict(), *_]:
                for one in value:
                    yield f"{indent}{key}:"
                    yield from _lines(one, indent + "  ")
            case [[_, _], *_]:
                yield f"{indent}{key}:"
                yield from (f"{indent}  {name}: {text}" for name, text in value)
            case list():
                yield f"{indent}{key}: {', '.join(map(str, value))}"
            case str() if len(value.splitlines()) > 1:
                yield f"{indent}{key}:"
                yield from (f"{indent}  {line}" for line in value.splitlines())
            case _:
                yield f"{indent}{key}: {value}"


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )
