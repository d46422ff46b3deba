"""Each form of a blackbox_exporter file is read or refused, by both programs, as the table says."""

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from monitor.app.tables import TABLES
from monitor.config.load import Config, load
from monitor.errors import ConfigError
from monitor.probes.http import HttpOptions
from monitor.probes.tcp import TcpOptions, TcpStep

FORMS = [
    tuple(line.split(maxsplit=2))
    for line in (Path(__file__).parent / "blackbox_forms.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
RELEASE = "0.28"


def read(folder: Path, text: str | bytes) -> Config:
    """Return the configuration that a blackbox_exporter file gives."""
    content = text if isinstance(text, bytes) else text.encode()
    (folder / "blackbox.yml").write_bytes(content)
    (folder / "sites.yaml").write_text("blackbox_modules: blackbox.yml\n")
    return load(folder / "sites.yaml", TABLES, {})


@pytest.mark.parametrize(("who", "form"), [(who, form) for who, _, form in FORMS])
def test_a_form_is_read_or_refused(tmp_path, who, form):
    """The monitor reads what the table says, and reports the line of everything else."""
    text = f"modules:\n  m: {form}\n"
    if who in ("both", "here"):
        assert "m" in read(tmp_path, text).modules
        return
    if who in ("aside", "loose"):
        config = read(tmp_path, text)
        assert "m" not in config.modules
        assert config.set_aside["m"]
        assert {warning.line for warning in config.warnings} == {2}
        return
    with pytest.raises(ConfigError) as error:
        read(tmp_path, text)
    assert {problem.line for problem in error.value.problems} == {2}


@pytest.mark.real
def test_the_exporter_reads_and_refuses_what_the_table_says(tmp_path):
    """blackbox_exporter 0.28 --config.check accepts and refuses what the table says."""
    program = shutil.which("blackbox_exporter")
    if program is None:
        pytest.skip(
            "blackbox_exporter 0.28 is not on the PATH; tests/system/build-exporter makes it"
        )

    def accepted(numbered: tuple[int, str]) -> bool:
        number, form = numbered
        path = tmp_path / f"{number}.yml"
        path.write_text(f"modules:\n  m: {form}\n")
        command = [program, f"--config.file={path}", "--config.check"]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    rows = [(who, form) for who, version, form in FORMS if version == RELEASE]
    with ThreadPoolExecutor(4) as pool:
        verdicts = pool.map(accepted, enumerate(form for _, form in rows))
    wrong = [
        form
        for (who, form), verdict in zip(rows, verdicts, strict=True)
        if verdict != (who in ("both", "aside", "there"))
    ]
    assert not wrong


ONE = "modules: {m: {prober: http}}\n"
FILES = [
    ("a trailing document mark", f"{ONE}---\n"),
    ("two of them, with a comment", f"{ONE}--- # end\n---\n"),
    ("a leading one", f"---\n{ONE}"),
    ("an end mark", f"{ONE}...\n"),
    ("a byte order mark", f"\ufeff{ONE}"),
    ("lines that end in CRLF", ONE.replace("\n", "\r\n")),
    ("a merged module", "modules: {k: &k {prober: http}, m: {<<: *k, timeout: 5s}}\n"),
    ("an alias", "modules: {k: &k {prober: http}, m: *k}\n"),
    ("tags", "modules: !!map {m: !mine {prober: !!str http}}\n"),
]


@pytest.mark.parametrize(("what", "text"), FILES, ids=[what for what, _ in FILES])
def test_a_form_of_the_file_is_read(tmp_path, what, text):
    """The file is read as Go's yaml.v3 reads it, which looks only at the first document."""
    assert read(tmp_path, text).modules["m"].scheme == "http", what


def test_a_second_document_is_not_passed_over(tmp_path):
    """It is refused: blackbox_exporter ignores it, and its author believes that it counts."""
    with pytest.raises(ConfigError, match="blackbox_exporter reads only the first"):
        read(tmp_path, f"{ONE}---\nmodules: {{n: {{prober: tcp}}}}\n")


def options(folder: Path, form: str, record: type):
    module = read(folder, f"modules:\n  m: {form}\n").modules["m"]
    return next(one for one in module.options if isinstance(one, record))


@pytest.mark.parametrize(
    ("written", "headers"),
    [
        ("{X-N: 5}", {"X-N": "5"}),
        ("{X-N: 1.10}", {"X-N": "1.10"}),
        ("{X-N: 0x10}", {"X-N": "0x10"}),
        ("{X-N: 017}", {"X-N": "017"}),
        ("{X-N: 1e3}", {"X-N": "1e3"}),
        ("{X-N: yes}", {"X-N": "yes"}),
        ("{X-N: 2026-07-24}", {"X-N": "2026-07-24"}),
        ("{X-N: }", {"X-N": ""}),
        ("{X-N: !!binary YWJj}", {"X-N": "abc"}),
        ("{X-N: ' a '}", {"X-N": "a"}),
        ("{Content-Length: 5, X-N: a}", {"X-N": "a"}),
        ("{X-N: '${HOME}'}", {"X-N": "${HOME}"}),
    ],
)
def test_what_is_text_is_text_as_it_is_written(tmp_path, written, headers):
    """A number keeps its digits where text is expected, and a dollar stays a dollar."""
    form = f"{{prober: http, http: {{headers: {written}}}}}"
    assert options(tmp_path, form, HttpOptions).headers == headers


@pytest.mark.parametrize("word", ["no", "No", "NO", "n", "N", "off", "Off", "OFF", "'no'", "false"])
def test_a_word_of_yaml_1_1_is_a_boolean(tmp_path, word):
    """Where a boolean is expected, the word is one, quoted or not, as in Go's yaml.v3."""
    form = f"{{prober: http, http: {{follow_redirects: {word}}}}}"
    assert options(tmp_path, form, HttpOptions).follow_redirects is False


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("1.5MiB", 1536 * 1024),
        ("10MB", 10 * 1024**2),
        ("1KB1B", 1025),
        (".5KiB", 512),
        ("0", None),
        ("-1B", None),
    ],
)
def test_a_size_is_of_powers_of_two(tmp_path, written, size):
    """In blackbox_exporter MB means MiB, and a size of 0 or less means no limit."""
    form = f"{{prober: http, http: {{body_size_limit: {written}}}}}"
    assert options(tmp_path, form, HttpOptions).max_body == size


@pytest.mark.parametrize(
    ("written", "steps"),
    [
        (
            "[{send: !!binary AAAACATSFi8=}, {expect_bytes: S}, {starttls: true}]",
            [
                {"send_bytes": bytes.fromhex("00000008 04d2162f 0a")},
                {"expect_bytes": b"S"},
                {"starttls": True},
            ],
        ),
        ("[{send: !!binary aGVsbG8=}]", [{"send": "hello\n"}]),
        ("[{expect_bytes: !!binary /w==}]", [{"expect_bytes": b"\xff"}]),
        ("[{expect: '', send: a}]", [{"expect": "(?:)"}, {"send": "a\n"}]),
        ("[~, {send: 5}]", [{"send": "5\n"}]),
    ],
)
def test_bytes_are_sent_as_they_are(tmp_path, written, steps):
    """Data that is not text is sent as bytes, with the line feed that blackbox_exporter adds."""
    form = f"{{prober: tcp, tcp: {{query_response: {written}}}}}"
    dialogue = options(tmp_path, form, TcpOptions).dialogue
    assert dialogue == tuple(TcpStep(**step) for step in steps)


MIXED = """
modules:
  good: {prober: http}
  socket: {prober: unix}
  http_2xx: {prober: http, http: {tls_config: {ca_file: /nowhere/ca.pem}}}
"""


def test_a_module_that_cannot_be_had_costs_no_other(tmp_path):
    """A module without an equivalent or with a missing file is left out; the rest is read."""
    config = read(tmp_path, MIXED)
    assert "good" in config.modules
    assert {"socket", "http_2xx"}.isdisjoint(config.modules)  # the shipped one does not replace it
    assert config.set_aside == {
        "socket": "Unix sockets cannot be checked",
        "http_2xx": "modules.http_2xx.http.tls_config.ca_file: there is no file /nowhere/ca.pem",
    }
    assert [(one.line, one.message) for one in config.warnings] == [
        (4, "modules.socket.prober: this module is left out: Unix sockets cannot be checked"),
        (
            5,
            (
                "modules.http_2xx.http.tls_config.ca_file: this module is left out: "
                "there is no file /nowhere/ca.pem"
            ),
        ),
    ]
