"""The benchmark measures what it says; the values of the figures do not matter here."""

import gzip
import json
import math
import os
import signal
import subprocess
import sys
from contextlib import closing
from dataclasses import replace

import pytest

from tests.bench import report
from tests.bench.__main__ import main, measured
from tests.bench.figures import BenchError, Figure, Goal, percentile
from tests.bench.fleet import Fleet
from tests.bench.instructions import by_library
from tests.bench.lab import Effort, Lab, Peers, cpu_per_check
from tests.bench.proc import cpu_time, descendants, memory, runs, tree
from tests.bench.report import Outcome, as_json, show
from tests.bench.rows import ROWS, Row
from tests.bench.scrape import Scrape, lag_between
from tests.bench.wire import is_complete, text_of
from tests.probes.servers import ScriptedServer, read_request
from tests.waiting import until

SHORT = Effort(
    rounds=1,
    window=1,
    settle=0.2,
    rates=(20,),
    tls_rates=(20,),
    waiting=5,
    true_rate=200,
    scrapes=0,
    interval=1,
    sites=200,
    many_interval=1,
    fleets=(20,),
    steps=(20,),
    sustain=1,
    outage=3,
    answer=0.2,
    remembered=1,
    slow=1,
)
ALWAYS = {"cpu_http", "scrape", "start", "reload", "history_cpu", "messages", "discovery", "calls"}
"""Rows that start daemons in each of the possible ways."""
MAY_BE_NOTHING = {
    "p99 added by a scrape",
    "a waiting check",  # none to measure if there are few
    "sustained",  # none if the machine is busy with something else
    "lag p99, first round",
    "lag p99, afterwards",
    "not checked, first round",
    "not checked, afterwards",
    "memory",  # more or less of it, with this few sites
    "lag p99",
    *("20 sites", "200 sites"),  # what the history adds
    *("not checked", "dropped", "write errors"),
}
MACHINE = {"kernel": "6.1"}
ROW = Row(name="row", what="something", goals={"a": Goal("under", 2)}, measure=lambda _: iter(()))


@pytest.mark.real
@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_a_short_run_of_each_row_finds_what_it_measures(row, real):
    """A short run of each row gives every figure as a finite number, and in the JSON."""
    if row.name not in ALWAYS and os.environ.get("MONITOR_BENCH") != "1":
        pytest.skip("all rows together take minutes; MONITOR_BENCH=1 runs each")
    for name in row.needs:
        real(name)
    outcome = measured(row, SHORT)
    assert outcome.failed == ""
    assert outcome.skipped == ""
    figures = {figure.name: figure.value for figure in outcome.figures}
    assert len(figures) == len(outcome.figures) > 0
    assert all(map(math.isfinite, figures.values())), figures
    assert all(figures[name] > 0 for name in figures.keys() - MAY_BE_NOTHING), figures
    written = json.loads(json.dumps(as_json([outcome], MACHINE, SHORT)))
    assert [one["name"] for one in written["rows"][0]["figures"]] == list(figures)


def test_a_row_without_its_program_is_skipped_with_the_reason():
    """A row whose program is missing starts nothing."""
    row = replace(ROW, needs=("no-such-program",), measure=lambda _: pytest.fail("was measured"))
    assert measured(row, SHORT).skipped == "no-such-program is not installed"


def test_a_row_that_fails_says_why_and_keeps_what_it_has(capsys):
    """The figures measured before the failure are reported."""
    figure = Figure(name="a", value=1, unit="ms")

    def fail(_: Lab):
        yield figure
        raise BenchError("nothing was seen")

    outcome = measured(replace(ROW, measure=fail), SHORT)
    assert outcome.figures == (figure,)
    assert outcome.failed == "BenchError: nothing was seen"
    assert "nothing was seen" in capsys.readouterr().err


def test_the_json_holds_every_figure_against_its_goal():
    """A figure without a goal is neither met nor missed."""
    figures = (Figure(name="a", value=1, unit="ms"), Figure(name="b", value=7, unit=""))
    (row,) = as_json([Outcome(row=ROW, figures=figures)], MACHINE, SHORT)["rows"]
    assert row == {
        "name": "row",
        "what": "something",
        "skipped": None,
        "failed": None,
        "took_seconds": 0,
        "took_part": {},
        "figures": [
            {
                "name": "a",
                "value": 1,
                "unit": "ms",
                "detail": "",
                "samples": {},
                "goal": {"sense": "under", "limit": 2},
                "met": True,
            },
            {
                "name": "b",
                "value": 7,
                "unit": "",
                "detail": "",
                "samples": {},
                "goal": None,
                "met": None,
            },
        ],
    }


def test_the_table_shows_goals_beside_figures(capsys):
    """The table marks what missed its goal, was skipped or failed."""
    outcomes = [
        Outcome(row=ROW, figures=(Figure(name="a", value=2.5, unit="ms"),)),
        Outcome(row=ROW, skipped="cc is not installed"),
        Outcome(row=ROW, failed="BenchError: no"),
    ]
    show(outcomes, MACHINE)
    shown = [line.strip("│ ").split() for line in capsys.readouterr().out.splitlines()]
    cells = [" ".join(word for word in line if word != "│") for line in shown]
    assert cells[0] == "kernel 6.1"
    assert "row a 2.50 ms under 2 short" in cells
    assert "row skipped cc is not installed" in cells
    assert "row failed BenchError: no" in cells


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (0.4126, "0.413"), (12.64, "12.6"), (1734.4, "1,734"), (-3.25, "-3.25")],
)
def test_numbers_have_three_digits_that_count(value, shown):
    """Numbers never have an exponent."""
    assert report._number(value) == shown


@pytest.mark.parametrize(
    ("goal", "met", "missed"),
    [
        (Goal("under", 10), 9.9, 10),
        (Goal("at most", 0.5), 0.5, 0.51),
        (Goal("at least", 1700), 1700, 1699),
    ],
)
def test_goals_mean_what_they_say(goal, met, missed):
    """A limit counts as met with "at most" and "at least", and not with "under"."""
    assert goal.met(met)
    assert not goal.met(missed)


def test_a_percentile_is_exceeded_by_no_more_than_its_rest():
    """The 99th percentile of 100 values is the largest, and that of one value is itself."""
    assert percentile([3.0], 0.99) == 3
    assert percentile([float(n) for n in range(1, 101)], 0.5) == 51
    assert percentile([float(n) for n in range(1, 101)], 0.99) == 100


def test_a_fleet_knows_when_its_sites_are_due():
    """A fleet's slots are the daemon's: one for each site in every interval."""
    fleet = Fleet(count=50, url="http://127.0.0.1/", interval=10)
    assert set(fleet.phases) == set(fleet.names)
    assert all(0 <= phase < 10 for phase in fleet.phases.values())
    assert fleet.due_between(1_000_003, 1_000_013) == 50
    first = fleet.names[0]
    slot = 1_000_000 + fleet.phases[first]
    assert fleet.lag(first, slot + 0.25) == pytest.approx(0.25)
    assert fleet.lag(first, slot - 0.001) == 0  # the clocks differ; no check starts early


def test_the_cpu_time_of_processes_includes_children_that_ended():
    """The CPU time of a child that has ended still counts."""
    before = cpu_time([os.getpid()])
    work = "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-c", work], check=True)
    assert cpu_time([os.getpid()]) - before > 0.25


def test_the_cpu_time_of_a_process_is_finer_than_a_tick():
    """A peer that does little in a short window still shows some CPU time."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        until(lambda: cpu_time([child.pid]) % 0.01 > 0, "a time between two ticks")
        child.communicate(b"\n")
    assert cpu_time([child.pid]) == 0, "it is gone"


def test_the_memory_of_processes_is_their_sum():
    """Two processes hold more than one."""
    one = memory([os.getpid()])
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        until(lambda: memory([child.pid]).size > 1_000_000, "a child with memory")
        two = memory(tree(os.getpid()))
        child.communicate(b"\n")
    assert two.kind == one.kind
    assert two.size > 1_000_000


METRICS = """\
# TYPE probe_duration_seconds gauge
probe_duration_seconds{site="a",target="http://a/",group=""} 0.25
probe_duration_seconds{site="b",target="http://b/",group=""} 0.5
# TYPE monitor_schedule_lag_seconds histogram
monitor_schedule_lag_seconds_bucket{le="0.005"} 10.0
monitor_schedule_lag_seconds_bucket{le="0.025"} 90.0
monitor_schedule_lag_seconds_bucket{le="+Inf"} 100.0
monitor_probe_threads{state="busy"} 3.0
monitor_probe_threads{state="idle"} 5.0
"""


def scraped(text: str, status: str = "200 OK") -> Scrape:
    """Scrape a server that compresses its answer and sends it in chunks."""
    packed = gzip.compress(text.encode())
    chunks = (packed[:20], packed[20:], b"")
    body = b"".join(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" for chunk in chunks)
    head = f"HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n"
    with closing(ScriptedServer([read_request, head.encode() + body])) as server:
        return Scrape(server.url())


def test_a_scrape_is_read_series_by_series():
    """A compressed, chunked scrape is read with the labels of its sites."""
    scrape = scraped(METRICS)
    assert scrape.ended - scrape.began == scrape.took > 0
    assert scrape.count("probe_duration_seconds") == 2
    assert scrape.by_site("probe_duration_seconds") == {"a": 0.25, "b": 0.5}
    assert scrape.total("probe_duration_seconds") == 0.75
    assert scrape.total("monitor_checks_skipped_total") == 0
    assert scrape.by_label("monitor_probe_threads") == {"busy": 3, "idle": 5}


def test_a_scrape_that_is_refused_is_no_measure():
    """The error has the status of the answer."""
    with pytest.raises(BenchError, match="503"):
        _ = scraped("", "503 Service Unavailable").text


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nwell\r\n0\r\n\r\n",
    ],
    ids=["length", "chunks"],
)
def test_an_answer_is_complete_with_its_last_byte(raw):
    """An answer counts as complete at its last byte, so that the connection can be used again."""
    assert [end for end in range(len(raw) + 1) if is_complete(raw[:end])] == [len(raw)]
    assert text_of(raw) == "well"
    with pytest.raises(BenchError, match="cut short"):
        text_of(raw[:-1])


def test_the_lag_is_that_of_the_checks_in_between():
    """Of the hundred checks in between, 99 started within the bound, which is a bucket's edge."""
    later = METRICS.replace(" 10.0", " 20.0").replace(" 90.0", " 189.0").replace(" 100.0", " 200.0")
    before, after = scraped(METRICS), scraped(later)
    assert lag_between(before, after, 0.10) == 0.005
    assert lag_between(before, after, 0.11) == 0.025
    assert lag_between(before, after, 0.99) == 0.025
    assert lag_between(before, after, 1.00) == math.inf


def test_a_site_that_is_down_is_named_with_the_reason():
    """The error names the site and the reason: figures of sites that are down mean nothing."""
    fleet = Fleet(count=1, url="http://127.0.0.1:1/", interval=1)
    said = pytest.raises(BenchError, match=r"of 1 sites 0 are up: .* site=site-0 .*refused")
    with Lab(SHORT) as lab, lab.daemon(fleet) as daemon, said:
        lab.until_all_checked(daemon, fleet)


def test_a_server_that_was_asked_for_nothing_is_no_measure():
    """A server without requests raises an error, because there is no cost per check."""
    with pytest.raises(BenchError, match="asked for nothing"):
        cpu_per_check(os.getpid(), iter((1, 2)).__next__, 0)


@pytest.mark.real
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_whatever_it_started_ends_with_it(number, real):
    """SIGINT or SIGTERM in the middle of a row leaves no daemon or server running."""
    real("nginx")
    # A shell makes its background processes and their children ignore SIGINT
    fresh = [real("env"), "--default-signal=INT"]
    command = [*fresh, sys.executable, "-m", "tests.bench", "--only", "lag"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as bench:
        below = until(lambda: _with_a_daemon(bench.pid), "the daemon's start")
        bench.send_signal(number)
        bench.communicate(timeout=60)
    until(lambda: not any(map(runs, below)), "the end of every process")


def _with_a_daemon(pid: int) -> dict[int, int]:
    """Return the processes below the benchmark once a daemon and its processes are among them."""
    below = descendants(pid)
    return below if len(set(below.values())) > 2 else {}


def test_an_unknown_row_is_refused(capsys):
    """The message lists the rows that exist."""
    with pytest.raises(SystemExit):
        main(["--only", "speed"])
    assert "cpu_http" in capsys.readouterr().err


def test_a_peer_is_a_build_of_ours_or_a_program(tmp_path, capsys):
    """Any other path is refused before anything is measured."""
    build, exporter = tmp_path / "build", tmp_path / "exporter"
    (build / "monitor").mkdir(parents=True)
    (build / "monitor" / "__main__.py").touch()
    exporter.touch(0o755)
    assert Peers.of([build, exporter]) == Peers(build=build, exporter=exporter)
    (tmp_path / "text").touch(0o644)
    with pytest.raises(SystemExit):
        main(["--peer", str(tmp_path / "text")])
    assert "is neither a build of the monitor nor a program" in capsys.readouterr().err


def test_instructions_are_counted_by_the_library_they_are_in():
    """A callee's instructions count once, in its own library and not in its caller's."""
    profile = (
        "ob=/lib/libc.so.6\nfn=a\n1 5\ncob=/bin/python\ncalls=1 0\n2 100\n3 7\nob=/bin/python\n4 2"
    )
    assert by_library(profile) == {"libc.so.6": 12, "python": 2}
