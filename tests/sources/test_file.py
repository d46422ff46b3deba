"""Files in the form of Prometheus' file_sd."""

import json
import os
import threading

import pytest

from monitor.sources.file import open_source
from monitor.sources.options import FileOptions
from monitor.sources.ports import UnreadableError
from tests.sources.world import WORLD, source, urls
from tests.waiting import PATIENCE


@pytest.fixture
def reader_of(tmp_path):
    readers = []

    def make(*paths, scheme=None):
        options = FileOptions(paths=paths, scheme=scheme)
        readers.append(open_source(source(options=options, folder=tmp_path), WORLD))
        return readers[-1]

    yield make
    for reader in readers:
        reader.close()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "a.json",
            '[{"targets": ["https://a", "b:80"], "labels": {"team": "x"}}, {"targets": []}]',
        ),
        ("a.yaml", "- targets: [https://a, 'b:80']\n  labels: {team: x}\n- targets: []\n"),
        ("a.yml", "[{labels: {team: x}, targets: [https://a, 'b:80']}]"),
    ],
)
def test_what_prometheus_reads_is_read(tmp_path, reader_of, name, text):
    """Groups in JSON and YAML are read; each target is a site with its group's labels."""
    (tmp_path / name).write_text(text)
    look = reader_of("*.json", "*.y*ml", scheme="tcp").look()
    assert urls(look, name) == ["https://a", "tcp://b:80"]
    labels = {"source": "file", "file": name, "team": "x"}
    assert [one.keys["labels"] for one in look.parts[name]] == [labels, labels]


def test_labels_may_hold_keys_of_the_site(tmp_path, reader_of):
    """__monitor_ labels are YAML for the site; other __ labels, job and instance are dropped."""
    labels = {
        "__monitor_site": "{interval: 5s, labels: {from: fragment}}",
        "__monitor_timeout": "2s",
        "__monitor_name": "017",
        "__monitor_expect": "{status: [200, 204]}",
        "__meta_x": "y",
        "__scheme__": "https",
        "job": "z",
        "instance": "i",
        "own": "label",
    }
    (tmp_path / "a.json").write_text(json.dumps([{"targets": ["h"], "labels": labels}]))
    (found,) = reader_of("a.json").look().parts["a.json"]
    assert found.keys == {
        "interval": "5s",
        "timeout": "2s",
        "name": "017",
        "expect": {"status": [200, 204]},
        "url": "https://h",
        "labels": {"source": "file", "file": "a.json", "own": "label", "from": "fragment"},
    }


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.json", b"", "is empty; write [] to list none"),
        ("a.json", b'[{"targets": ["https://a"', "is not JSON: line 1, column 26"),
        ("a.json", b"{}", "must be a list of groups"),
        ("a.json", b"\xff[]", "is not UTF-8"),
        ("a.json", b"[" * 100_000, "is nested too deeply"),
        ("a.json", b"[" + b" " * 17 * 1024**2, "is larger than 16MiB"),
        ("a.yaml", b"- targets: [a\n", "is not YAML"),
        ("a.yaml", b"- &a [*a]\n", "*a stands for nothing"),
        ("a.yaml", BOMB.encode(), "aliases expand this file too far"),
        ("a.yaml", b"[" * 1000, "is nested deeper than 50 levels"),
        ("a.yaml", b"- !!python/object:os.system {}\n", "the tag !!python/object:os.system"),
        ("a.yaml", b"- {a: 1, a: 2}\n", "is given twice"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else str(value)[:30],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path, reader_of, name, content, why):
    """A half-written, hostile or huge file costs only its own part, and the error names it."""
    (tmp_path / name).write_bytes(content)
    (tmp_path / "good.json").write_text('[{"targets": ["https://a"]}]')
    look = reader_of("*").look()
    assert urls(look, "good.json") == ["https://a"]
    assert isinstance(look.parts[name], UnreadableError)
    assert why in str(look.parts[name])
    assert str(look.parts[name]).startswith(f"{name}: ")


def test_what_is_no_file_is_not_waited_for(tmp_path, reader_of):
    """A pipe, a folder and a name of no file each get an error."""
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder").mkdir()
    parts = reader_of("pipe.json", "folder", "missing.json").look().parts
    assert {name: str(why) for name, why in parts.items()} == {
        "pipe.json": "pipe.json: is not a regular file",
        "folder": "folder: is not a regular file",
        "missing.json": "missing.json: there is no such file",
    }


@pytest.mark.parametrize(
    ("group", "place", "why"),
    [
        ("x", "[0]", "must be a mapping with a list of targets"),
        ({"targets": "https://a"}, "[0]", "must be a mapping with a list of targets"),
        ({"targets": [1]}, "[0].targets[0]", "must be a text such as https://example.com"),
        ({"targets": ["a"], "labels": {"a": 1}}, "[0].labels", "must be a mapping of labels"),
        ({"targets": ["a"], "labels": {"__monitor_site": "x"}}, "[0].labels", "must be a mapping"),
        ({"targets": ["a"], "labels": {"__monitor_expect": "["}}, "[0].labels", "is not YAML"),
    ],
)
def test_a_bad_group_costs_that_group(tmp_path, reader_of, group, place, why):
    """Other groups are read, and the error gives the place of the bad one."""
    (tmp_path / "a.json").write_text(json.dumps([group, {"targets": ["https://a"]}]))
    look = reader_of("a.json").look()
    assert urls(look, "a.json") == ["https://a"]
    bad = look.parts["a.json"][0]
    assert bad.place == f"a.json: {place}"
    assert why in bad.problem


def test_a_change_ends_the_wait(tmp_path, reader_of):
    """A file that newly matches a pattern is read."""
    reader = reader_of("*.json")
    assert reader.look().parts == {}
    waiting = threading.Thread(target=reader.wait)
    waiting.start()
    (tmp_path / "a.json").write_text("[]")
    waiting.join(PATIENCE)
    assert not waiting.is_alive()
    assert reader.look().parts == {"a.json": ()}


def test_a_wait_ends_when_the_source_is_closed(reader_of):
    """A reload that drops the source therefore leaves no thread."""
    reader = reader_of("*.json")
    waiting = threading.Thread(target=reader.wait)
    waiting.start()
    reader.close()
    waiting.join(PATIENCE)
    assert not waiting.is_alive()
