import json
import logging

import pytest

from monitor.logs import JsonFormatter, Secrets, TextFormatter, fields

SECRETS = ('quo"ted', "back\\slash", "two\nlines", "plain-one", "München")


@pytest.mark.parametrize("form", [TextFormatter, JsonFormatter])
@pytest.mark.parametrize("secret", SECRETS)
def test_no_secret_is_in_a_line(form, secret):
    """Not in the event, in a field or in the traceback, whatever characters it is made of."""
    secrets = Secrets()
    secrets.values = SECRETS
    said = record(detail=f"a {secret} b", path=Odd(secret))
    said.msg = f"event {secret}"
    said.exc_info = (ValueError, ValueError(f"sent {secret} twice"), None)
    line = form(secrets).format(said)
    assert secret not in line
    assert json.dumps(secret, ensure_ascii=False)[1:-1] not in line
    assert line.count("<secret>") == 4


class Odd:
    """Something that is no text, and has one."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


def record(**values) -> logging.LogRecord:
    made = logging.makeLogRecord({"msg": "site_down", "levelname": "WARNING", "created": 0.25})
    made.__dict__.update(fields(**values))
    return made


def test_a_text_line():
    """Time, level and event, then fields; what could be misread is quoted, None is left out."""
    line = TextFormatter(Secrets()).format(
        record(site="shop", detail='status "503"', seconds=1.5, drained=False, before=None)
    )
    assert line == (
        "1970-01-01T00:00:00.250Z WARNING site_down "
        r'site=shop detail="status \"503\"" seconds=1.5 drained=False'
    )


def test_a_json_line():
    """One object, in which numbers and truth values stay what they are."""
    line = JsonFormatter(Secrets()).format(
        record(site="shop", detail="5 €", seconds=1.5, drained=False, before=None)
    )
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:00.250Z",
        "level": "WARNING",
        "event": "site_down",
        "site": "shop",
        "detail": "5 €",
        "seconds": 1.5,
        "drained": False,
    }
