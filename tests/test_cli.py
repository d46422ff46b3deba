"""The program as a shell sees it: its output and its exit status."""

import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from xml.etree import ElementTree as ET

import click
import pytest
from click.testing import CliRunner

from monitor.cli import cli


class _Pages(BaseHTTPRequestHandler):
    def do_GET(self):
        status = int(self.path[1:] or 200)
        self.send_response(status)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *args):
        pass


@pytest.fixture(autouse=True)
def logging_as_before():
    """Undo after each test what a command set up for logging in this process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="module")
def pages():
    """Start a server that answers with the status in the path; yields its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@contextmanager
def served(body):
    """Start a server that answers with this body, and echoes the request; yields its URL."""

    class Echo(_Pages):
        def do_GET(self):
            asked = [f"{name}={self.headers[name]}" for name in ("A", "B") if name in self.headers]
            self.send_response(200)
            self.send_header("X-Got", " ".join([self.command, *asked]))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def monitor(*args, cwd=None, **environ):
    command = [sys.executable, "-m", "monitor", *map(str, args)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=cwd,
        env={**os.environ, **environ},
    )


@pytest.fixture
def listed(tmp_path, pages):
    path = tmp_path / "sites.yaml"
    path.write_text(f"""
sites:
  - {{name: good, url: "{pages}/200", group: shop, labels: {{tier: gold}}}}
  - {{name: bad, url: "{pages}/503", group: shop}}
  - {{name: other, url: "{pages}/200"}}
""")
    return path


def test_check_prints_a_table_and_counts(listed):
    """Down sites come first, with their reasons, and one down site makes the exit status 1."""
    done = monitor("check", "--config", listed)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert re.match(r"DOWN +bad .*status: status 503 is not in 2xx", lines[1])
    assert lines[-1] == "2 up, 1 down, 0 not checked"
    assert done.stderr == ""


def test_check_takes_names_groups_and_labels(listed):
    """Only the requested sites are checked, and the status is 0 if all are up."""
    assert monitor("check", "good", "other", "--config", listed).returncode == 0
    done = monitor("check", "--group", "shop", "--label", "tier=gold", "--json", "--config", listed)
    document = json.loads(done.stdout)
    assert done.returncode == 0
    assert [one["site"] for one in document["results"]] == ["good"]
    assert (document["up"], document["down"]) == (1, 0)


def test_check_knows_the_names(listed):
    """An unlisted name is an error that suggests the name that was meant."""
    done = monitor("check", "goood", "--config", listed)
    assert done.returncode == 2
    assert "no site is named 'goood'; did you mean 'good'?" in done.stderr


def test_check_writes_junit(listed, tmp_path):
    """CI servers get one test case per site, with the sentence of its failure."""
    report = tmp_path / "report.xml"
    assert monitor("check", "--junit", report, "--config", listed).returncode == 1
    suite = ET.parse(report).getroot()
    assert suite.attrib["tests"] == "3"
    assert suite.attrib["failures"] == "1"
    (failure,) = suite.iter("failure")
    assert failure.attrib["message"] == "status: status 503 is not in 2xx"


def test_check_stops_at_the_first_failure(tmp_path, pages):
    """--fail-fast stops without waiting for slower checks."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        path = tmp_path / "sites.yaml"
        path.write_text(f"""
sites:
  - {{name: bad, url: "{pages}/503"}}
  - {{name: slow, url: "http://127.0.0.1:{silent.getsockname()[1]}/", timeout: 50s}}
""")
        done = monitor("check", "--fail-fast", "--config", path)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "0 up, 1 down, 1 not checked"


def test_probe_shows_everything(pages):
    """The output has the verdict, the facts and the waterfall of phases."""
    done = monitor("probe", f"{pages}/503")
    assert done.returncode == 1
    assert "DOWN" in done.stdout
    assert "status 503 is not in 2xx" in done.stdout
    assert re.search(r"processing +[\d.]+ ms +█+", done.stdout)
    assert "hello" in done.stdout


def test_probe_takes_options(pages):
    """Flags and -o set options of a site, and --json prints a result in its usual form."""
    done = monitor("probe", f"{pages}/503", "--status", "503", "-o", "expect.latency=30s", "--json")
    assert done.returncode == 0
    document = json.loads(done.stdout)
    assert (document["up"], document["status"]) == (True, 503)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "URL: unknown scheme 'ftp'"),
        (["-o", "http.metod=GET"], "-o http.metod: unknown option; did you mean 'method'?"),
        (["-o", "nonsense"], "'nonsense' is not KEY=VALUE"),
        (["-o", "=5"], "'=5' is not KEY=VALUE"),
        (["--timeout", "5"], "--timeout: '5' is not a duration"),
        (["-X", "G T", "-H", "A: b"], "--method: method 'G T' is not an HTTP method"),
        (["-o", 'expect.that=rcode == "A"'], "-o expect.that: http checks have no rcode"),
        (["-o", "url.x=1"], "-o url.x: 'url' has no keys below it"),
        (
            ["-o", 'http.oauth2={"client_id": "a"}', "-d", "x"],
            "-o http.oauth2: http.oauth2.token_url: must be given",
        ),
        (["-o", 'labels={"a b": "c"}'], "-o labels: labels['a b']: is not a label name"),
        (["-o", "expect.json={}$.x"], "-o expect.json: '{}$.x' is not a mapping of paths"),
        (["--timeout", "2m", "-o", "interval=1m"], "--timeout: is longer than the interval of 1m"),
        (["-d", "\udcff"], "--body: is not UTF-8"),
        (
            ["-o", f"expect.json={'[' * 60 + ']' * 60}"],
            "expect.json: is nested deeper than 50 levels",
        ),
        (["-o", f"expect.json={'[' * 500 + ']' * 500}"], "Error: a value is nested too deeply"),
        (["-o", f"expect.json={'[' * 10000}"], "Error: a value is nested too deeply"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else "",
)
def test_probe_says_what_is_wrong(args, message):
    """Each bad argument gets a sentence under the name that the user wrote, and status 2."""
    url = "http://127.0.0.1/" if args else "ftp://example.com"
    done = CliRunner().invoke(cli, ["probe", url, *args])
    assert done.exit_code == 2
    assert message in done.output
    assert "sites[0]" not in done.output


@pytest.mark.parametrize(
    ("option", "verdict"),
    [
        ('expect.json={"$.price": "$5 ${HOME}", "$.n": 1}', None),
        ('expect.json={"$.price": "$$5"}', "json"),
        (r'expect.body=["\ud83d\udcb0", "\\$5 \\$\\{HOME\\}"]', None),
        ("http.body=\N{MONEY BAG}\x7f\x85", None),
        ("http.headers.A$B=c", None),
        ("timeout=2m", None),
    ],
)
def test_probe_takes_any_option(option, verdict):
    """Dollars and all other characters are taken literally, in keys and in values."""
    said = '{"price": "$5 ${HOME}", "n": 1, "bag": "\N{MONEY BAG}"}'.encode()
    with served(said) as url:
        done = monitor("probe", url, "-o", option, "--json")
    assert json.loads(done.stdout)["reason"] == verdict


def test_later_options_add_to_earlier_ones():
    """Headers by -H and -o are both sent; of two values for the same one, the last is used."""
    with served(b"") as url:
        options = ["-X", "PUT", "-H", "A: a", "-o", "http.headers.B=b", "-o", "http.method=GET"]
        done = monitor("probe", url, *options, "-o", 'expect.header={"x-got": "^GET A=a B=b$"}')
    assert done.returncode == 0, done.stdout


def test_probe_shows_no_secret(pages):
    """A password on the command line appears in no output."""
    url = pages.replace("http://", "http://admin:s3cr3t-word@")
    done = monitor("probe", f"{url}/503", "-o", "http.headers.X-Token=another-s3cr3t")
    assert "s3cr3t" not in done.stdout + done.stderr


def test_validate_prints_every_problem(tmp_path):
    """validate prints all problems of all files, each with its place, as text or JSON."""
    path = tmp_path / "sites.yaml"
    path.write_text("sites:\n  - {url: http://a.test, metod: GET}\n  - {name: b}\n")
    done = monitor("validate", path)
    assert done.returncode == 2
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{path}:2:26: sites[0].metod: unknown option")
    assert lines[1].startswith(f"{path}:3:")
    document = json.loads(monitor("validate", "--json", path).stdout)
    assert document["valid"] is False
    assert [problem["line"] for problem in document["problems"]] == [2, 3]


def test_validate_is_silent_about_good_files(listed):
    """validate prints the number of sites of a good list, and the status is 0."""
    done = monitor("validate", listed)
    assert (done.returncode, done.stdout) == (0, "3 sites, no problem\n")
    listed.write_text("sites: [https://example.com]")
    assert monitor("validate", listed).stdout == "1 site, no problem\n"


def test_validate_warns_of_what_is_hardly_meant(tmp_path):
    """RE2 reads {,3} as four characters, so a list that contains it is valid and gets a warning."""
    path = tmp_path / "sites.yaml"
    path.write_text(
        "defaults: {expect: {body: {not_matches: 'x{,2}'}}}\n"
        "sites:\n"
        "  - {name: a, url: http://a.test, expect: {header: {server: 'a{,3}'}}}\n"
        "  - {name: b, url: tcp://b.test:1, tcp: {dialogue: [{expect: 'b{,10}'}]}}\n"
        "  - {name: c, url: http://c.test, extract: {v: {matches: '(c{,4})'}}}\n"
        "  - {name: d, url: tcp://d.test:1, tcp: {dialogue: [{expect: 'b{0,3}\\{,3}'}]}}\n"
    )
    done = monitor("validate", path)
    assert (done.returncode, done.stderr) == (0, "")
    *warnings, last = done.stdout.splitlines()
    assert last == "4 sites, no problem"
    assert [line.removeprefix(f"{path}:").partition(": RE2")[0] for line in sorted(warnings)] == [
        "1:41: warning: defaults.expect.body",
        "3:61: warning: sites[0].expect.header",
        "4:62: warning: sites[1].tcp",
        "5:58: warning: sites[2].extract",
    ]
    assert all("; to repeat, write {0," in line for line in warnings)
    document = json.loads(monitor("validate", "--json", path).stdout)
    assert (document["valid"], document["problems"]) == (True, [])
    assert {warning["line"] for warning in document["warnings"]} == {1, 3, 4, 5}


def test_the_configuration_may_come_from_the_environment(listed):
    """$MONITOR_CONFIG replaces --config."""
    assert monitor("validate", MONITOR_CONFIG=str(listed)).returncode == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no file"),
        ("sites: []\n", "lists no site"),
        ("sites: [\n", "sites.yaml:"),
        ("sites: [{url: http://a.test, interval: 5}]\n", "5 has no unit"),
    ],
    ids=["missing", "empty", "syntax", "unit"],
)
def test_run_refuses_a_bad_configuration(tmp_path, content, message):
    """Each mistake gets one sentence; the status is 2, without a traceback."""
    path = tmp_path / "sites.yaml"
    if content is not None:
        path.write_text(content)
    done = monitor("run", "--config", path, "--listen", "127.0.0.1:0")
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_run_refuses_what_is_no_shard(listed):
    """A bad shard gets a sentence that shows a good one, and status 2."""
    done = monitor("run", "--config", listed, "--shard", "6/5")
    assert done.returncode == 2
    sentence = "there is no shard 6/5; they are numbered from 1/5 to 5/5"
    assert done.stderr == f"monitor: {sentence}\n"


def test_run_says_that_a_port_is_in_use(listed):
    """A port in use gets one sentence with the address, and status 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = monitor("run", "--config", listed, "--listen", address)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert address in done.stderr
    assert "in use" in done.stderr


def test_check_says_that_no_worker_is_to_be_had(listed):
    """If the system has no descriptors for a worker, check prints one sentence, with status 2."""
    script = 'ulimit -n 13 && exec "$@"'
    run = [sys.executable, "-m", "monitor", "check", "--config", listed]
    done = subprocess.run(
        ["sh", "-c", script, "-", *run], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "monitor: no analysis worker can be started: [Errno 24] Too many" in done.stderr


def test_a_limit_of_the_system_bounds_the_workers_memory(listed, real):
    """If a hard limit is below analysis.memory, the worker gets that limit."""
    limited = ["sh", "-c", 'ulimit -d 900000 && exec "$@"', "-"]
    if os.geteuid() == 0:  # root may raise any limit
        limited += [real("setpriv"), "--bounding-set=-sys_resource", "--inh-caps=-sys_resource"]
    run = [sys.executable, "-m", "monitor", "check", "good", "--config", listed]
    done = subprocess.run([*limited, *run], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_full_tmp_does_not_matter(listed, real):
    """Nothing is written to /tmp, so checks continue."""
    script = (
        'cp "$1" /dev/shm/$$.yaml; shift; mount -t tmpfs -o size=4k none /var/tmp;'
        "head -c 9000 /dev/zero > /var/tmp/full; TMPDIR=/var/tmp exec "
        '"$@" --config /dev/shm/$$.yaml'
    )
    command = [real("unshare"), "--map-root-user", "--mount", "sh", "-c", script, "-", listed]
    run = [sys.executable, "-m", "monitor", "check", "good", "--json"]
    done = subprocess.run([*command, *run], capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["up"] == 1


def test_version_names_what_matters():
    """The output has the versions of the program, Python and libcurl, for bug reports."""
    done = CliRunner().invoke(cli, ["--version"])
    assert re.fullmatch(r"monitor \S+ \(Python 3\.\S+, libcurl \d+\.\S+\)\n", done.output)


def test_every_command_has_a_help_text():
    """--help of each command explains the command in a sentence."""
    context = click.Context(cli)
    for name in cli.list_commands(context):
        done = CliRunner().invoke(cli, [name, "--help"])
        assert done.exit_code == 0
        command = cli.get_command(context, name)
        assert command is not None
        assert command.get_short_help_str()


def test_a_command_is_known_by_its_name():
    """A mistyped command is an error that suggests the command that was meant."""
    done = CliRunner().invoke(cli, ["chek"])
    assert done.exit_code == 2
    assert "there is no command 'chek'; did you mean 'check'?" in done.stderr


def test_an_option_before_a_command_that_would_not_read_it_is_refused(tmp_path):
    """An option that would be ignored is refused with a sentence that says where it belongs."""
    other = tmp_path / "other.yaml"
    done = CliRunner().invoke(cli, ["locations", "--config", str(other), "setup"])
    assert done.exit_code == 2
    assert "write --config after setup" in done.stderr


def test_import_of_a_blackbox_file(tmp_path):
    """Modules go to standard output, ready for our file; a bad file is reported, status 2."""
    path = tmp_path / "blackbox.yml"
    path.write_text("modules: {smtp: {prober: tcp, tcp: {query_response: [{expect: ^220}]}}}")
    printed = CliRunner().invoke(cli, ["import", "blackbox", str(path)])
    assert printed.exit_code == 0
    ours = tmp_path / "ours.yaml"
    ours.write_text(printed.output)
    assert CliRunner().invoke(cli, ["validate", str(ours)]).exit_code == 0

    path.write_text("modules: {smtp: {prober: tcp, timout: 5s}}")
    printed = CliRunner().invoke(cli, ["import", "blackbox", str(path)])
    assert printed.exit_code == 2
    assert printed.stderr.startswith(f"{path}:1:31: modules.smtp.timout: unknown option")


@pytest.mark.parametrize("command", ["check good", "schema", "validate"])
def test_output_that_cannot_be_written_is_no_verdict(listed, command):
    """A full disk gives one sentence and status 2, never a traceback or "a site is down"."""
    args = command.split()
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "monitor", *args],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "MONITOR_CONFIG": str(listed)},
        )
    assert (done.returncode, done.stderr) == (
        2,
        "monitor: cannot write the output: No space left on device\n",
    )


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    """If a report's folder is missing, the message names the report's file, not the output."""
    modules, report = tmp_path / "blackbox.yml", tmp_path / "missing" / "report.json"
    modules.write_text("modules: {web: {prober: http}}")
    done = CliRunner().invoke(cli, ["import", "blackbox", str(modules), "--report", str(report)])
    assert done.exit_code == 2
    assert done.stderr == f"monitor: cannot open {report}: No such file or directory\n"


def test_closed_standard_streams_do_not_matter(listed):
    """With standard streams closed, the exit status is still right."""
    script = 'exec "$@" >&- 2>&-'
    done = subprocess.run(
        ["sh", "-c", script, "-", sys.executable, "-m", "monitor", "check", "good"],
        check=False,
        env={**os.environ, "MONITOR_CONFIG": str(listed)},
    )
    assert done.returncode == 0


@pytest.mark.parametrize("encoding", ["ascii", "utf-8:strict"])
def test_a_terminal_without_signs_for_a_name_gets_others(tmp_path, encoding, pages):
    """Characters that the terminal lacks are replaced, so any name is shown and nothing crashes."""
    environ = {"PYTHONIOENCODING": encoding}
    for options in ([], ["--json"]):
        done = monitor("validate", os.fsdecode(b"\xff.yaml"), *options, cwd=tmp_path, **environ)
        assert "there is no file" in done.stdout
        assert (done.returncode, done.stderr) == (2, "")
    done = monitor("probe", f"{pages}/200", "-o", "name=\N{MONEY BAG}", **environ)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_working_folder_that_is_gone(tmp_path):
    """In a folder that was removed, the message says which file is missing."""
    script = 'mkdir gone && cd gone && rmdir ../gone && exec "$@"'
    run = [sys.executable, "-m", "monitor", "validate", "sites.yaml"]
    done = subprocess.run(
        ["sh", "-c", script, "-", *run], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.stdout == "sites.yaml:1:1: there is no file sites.yaml\n"
    assert (done.returncode, done.stderr) == (2, "")


def test_an_interrupt_while_the_program_is_loaded():
    """Ctrl-C during loading ends the program without a traceback."""
    code = """
import sys
class Interrupted:
    def find_spec(self, name, *_):
        if name == "monitor.cli":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
from monitor.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_durations_end(tmp_path, pages):
    """A duration that no system clock can hold is refused when the file is read."""
    path = tmp_path / "sites.yaml"
    path.write_text(f"sites: [{{url: '{pages}', interval: 999999999d, timeout: 999999999d}}]")
    done = monitor("validate", path)
    assert done.returncode == 2
    assert done.stdout.count("must be at most 366d, not 999999999d") == 2
