"""Each file in bad/ breaks one rule, and the text file beside it holds the exact error."""

from pathlib import Path

import pytest

from monitor.config.load import load
from monitor.errors import ConfigError

BAD = Path(__file__).parent / "bad"
SECRETS = {"TOKEN": "s3cr3t", "PAREN": "se(cret"}


@pytest.mark.parametrize("name", sorted(path.stem for path in BAD.glob("*.yaml")))
def test_a_bad_file_is_told_what_is_wrong(name, tables, monkeypatch):
    """Every problem of a file is reported at its place, in the words of the text file."""
    monkeypatch.chdir(BAD)
    with pytest.raises(ConfigError) as caught:
        load(Path(f"{name}.yaml"), tables, SECRETS)
    assert f"{caught.value}\n" == (BAD / f"{name}.txt").read_text()


def test_no_message_holds_a_secret():
    """No message repeats a value from the environment or what stands before an @ in a URL."""
    said = "".join(path.read_text() for path in BAD.glob("*.txt"))
    assert not [word for word in (*SECRETS.values(), "geheim") if word in said]
