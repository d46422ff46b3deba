"""Every protocol has a row in each table, and every kind of answer has all of its views."""

import ast
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from monitor.app.tables import TABLES
from monitor.config.modules import SHIPPED
from monitor.metrics.protocols import SERIES
from monitor.model import (
    Answer,
    DnsAnswer,
    GrpcAnswer,
    HttpAnswer,
    IcmpAnswer,
    Observation,
    Phase,
    PushAnswer,
    Result,
    Site,
    TcpAnswer,
    WebSocketAnswer,
)
from monitor.probes.registry import PROBES
from monitor.protocols.facets import FACETS, facet_of
from monitor.protocols.table import EVERY, OVER_TLS, PROTOCOLS, SCHEMES, only
from monitor.report import result_json

SECRET = "swordfish"
LONG = 5000
ANSWERS = (
    HttpAnswer(status=200, version="2", headers=(("x", SECRET), ("long", "v" * LONG))),
    WebSocketAnswer(status=101, upgraded=True, headers=(("x", SECRET),), received=b"v" * LONG),
    DnsAnswer(rcode="NOERROR", answer=(SECRET, "v" * LONG), nsid=SECRET),
    TcpAnswer(captures=(("one", SECRET), ("two", "v" * LONG)), received=b"v" * LONG),
    IcmpAnswer(sent=3, received=2, round_trips=(0.001, 0.002)),
    GrpcAnswer(status_code=0, serving_status="SERVING"),
    PushAnswer(called=0.0, message=f"{SECRET} {'v' * LONG}", body=b"v" * LONG),
)
SITE = Site(name="a", url="http://a/", target="http://a/", scheme="http", secrets=(SECRET,))


def kind(answer) -> str:
    return type(answer).__name__


def test_the_answers_here_are_all_there_are():
    """The tests below cover every kind of answer, and each kind has its own facet."""
    assert {type(answer) for answer in ANSWERS} == set(get_args(Answer))
    assert {id(facet_of(answer)) for answer in ANSWERS} == {id(facet) for facet in FACETS}


@pytest.mark.parametrize("answer", ANSWERS, ids=kind)
def test_the_json_form_has_the_keys_it_declares(answer):
    """The keys of one kind of answer are null in the JSON form of all others."""
    facet = facet_of(answer)
    result = Result(site="a", url="", observation=Observation(time=0, duration=0, answer=answer))
    shown = result_json(result)
    assert set(facet.json(answer, ())) == set(facet.keys)
    for key in {key for other in FACETS for key in other.keys}:
        assert shown[key] == facet.json(answer, ()).get(key)


@pytest.mark.parametrize("answer", ANSWERS, ids=kind)
def test_what_is_kept_has_no_secret_and_is_short(answer):
    """An answer of thousands of characters is kept in at most 2 KiB, without a secret."""
    kept = facet_of(answer).kept(answer, SITE)
    assert type(kept) is type(answer)
    text = repr([getattr(kept, one.name) for one in fields(kept)])
    assert SECRET not in text
    assert len(text) < 2 * 1024


@pytest.mark.parametrize("answer", ANSWERS, ids=kind)
def test_people_see_something_of_every_answer(answer):
    """Every answer has rows with names, and its log fields are neither bytes nor records."""
    facet = facet_of(answer)
    rows = list(facet.rows(answer))
    assert rows
    assert all(map(str, dict(rows)))
    for _, values in facet.steps(answer, "http://a/"):
        assert all(isinstance(value, str | int | None) for value in values.values())


def test_every_protocol_has_a_probe():
    """The schemes of the probes are those of the protocols, and each has its own probe."""
    assert {scheme: kind.protocol for scheme, kind in PROBES.items()} == {
        scheme: protocol.name for scheme, protocol in SCHEMES.items()
    }


def test_every_protocol_has_its_series():
    """Every protocol has an entry in the table of series."""
    assert set(SERIES) == EVERY


def test_every_scheme_has_a_shipped_module():
    """A target of any scheme can be probed without naming a module."""
    names = {line.partition(":")[0] for line in SHIPPED.splitlines() if line and line[0] != " "}
    asked = [one for one in PROTOCOLS.values() if not one.reports_itself]
    assert {name for one in asked for name in one.schemes.values()} <= names


def test_phases_are_in_the_order_of_a_transaction():
    """Each protocol lists its phases in the order of all phases, and each phase is in use."""
    order = list(Phase)
    for protocol in PROTOCOLS.values():
        assert list(protocol.phases) == sorted(protocol.phases, key=order.index)
    assert {phase for one in PROTOCOLS.values() for phase in one.phases} == set(Phase)


def test_tls_is_what_has_a_phase_for_it():
    """Certificates can be expected of every protocol that has a TLS phase."""
    assert {"icmp", "push"} == EVERY - OVER_TLS


def test_a_protocol_that_is_misspelled_is_found_at_once():
    """A table that names an unknown protocol raises an error at once."""
    assert only("http", "ws") == {"http", "ws"}
    with pytest.raises(LookupError):
        only("htpp")


def test_expectations_and_readings_name_only_protocols():
    """No row names a protocol that nothing checks."""
    expectations = [one.protocols for one in TABLES.expectations.values()]
    readings = [one.protocols for one in TABLES.readings.values()]
    assert frozenset().union(*expectations, *readings) <= EVERY


def test_every_match_over_answers_is_complete_for_the_type_checker():
    """A match on kinds of answers ends in assert_never, so that mypy finds missing ones."""
    kinds = {one.__name__ for one in get_args(Answer)}
    found = 0
    for path in sorted((Path(__file__).parents[2] / "monitor").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Match):
                continue
            patterns = [inner for case in node.cases for inner in ast.walk(case.pattern)]
            named = {ast.unparse(one.cls) for one in patterns if isinstance(one, ast.MatchClass)}
            if named & kinds:
                found += 1
                assert "assert_never" in ast.unparse(node.cases[-1]), f"{path}:{node.lineno}"
    assert found >= 2  # as many as exist today
