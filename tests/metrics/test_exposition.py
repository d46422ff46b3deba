"""What Prometheus reads about sites, by blackbox_exporter's rules and the library's parsers."""

import math
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from monitor.board import BoardEntry, StatusBoard
from monitor.metrics.exposition import render
from monitor.metrics.families import FAMILIES, PROBE_FAMILIES
from monitor.metrics.internal import Internal
from monitor.metrics.lines import SampleLines
from monitor.metrics.negotiation import negotiate
from monitor.metrics.scrape import Exposition, expose, probe_exposition
from monitor.model import (
    Analysis,
    Counters,
    Failure,
    GrpcAnswer,
    HttpAnswer,
    Observation,
    Phase,
    Reason,
    Result,
    SiteState,
    Status,
    TcpAnswer,
    TlsSession,
    Verdict,
)
from tests.fakes import FakeClock
from tests.metrics.states import (
    BOUNDS,
    COUNTERS,
    DAY,
    DNS,
    GRPC,
    HTTP,
    ICMP,
    INTERMEDIATE,
    JOINT,
    LEAF,
    NOW,
    SESSION,
    TCP,
    VALIDITY,
    WEBSOCKET,
    broken,
    failed,
    result,
    rich,
    site,
    state,
)

_OPENMETRICS = "application/openmetrics-text; version=1.0.0"
_SITE_LABELS = ("site", "target", "group", "team", "tier")
_COMMON = {
    "probe_success",
    "probe_duration_seconds",
    "probe_timeout_seconds",
    "probe_dns_lookup_time_seconds",
    "probe_ip_protocol",
    "probe_ip_addr_hash",
}
_HTTP_ALWAYS = _COMMON | {
    "probe_failed_due_to_regex",
    "probe_http_content_length",
    "probe_http_duration_seconds",
    "probe_http_redirects",
    "probe_http_ssl",
    "probe_http_status_code",
    "probe_http_uncompressed_body_length",
    "probe_http_version",
}
_DNS_ALWAYS = _COMMON | {
    "probe_dns_additional_rrs",
    "probe_dns_answer_rrs",
    "probe_dns_authority_rrs",
    "probe_dns_duration_seconds",
    "probe_dns_query_succeeded",
}
_GRPC_ALWAYS = _COMMON | {
    "probe_grpc_duration_seconds",
    "probe_grpc_ssl",
    "probe_grpc_status_code",
}
_WEBSOCKET_ALWAYS = _COMMON | {
    "probe_websocket_connection_upgraded",
    "probe_websocket_failed_due_to_regex",
    "probe_websocket_status_code",
}
_CERTIFICATE = {"probe_ssl_earliest_cert_expiry", "probe_ssl_last_chain_info"}
_TLS = {
    *_CERTIFICATE,
    "probe_ssl_last_chain_expiry_timestamp_seconds",
    "probe_tls_version_info",
}


class Samples:
    """
    The samples of one rendered state, as Prometheus reads them.

    Attributes:
        values: By name and by the labels the site does not carry anyway.
    """

    def __init__(self, of: SiteState) -> None:
        text = b"".join(expose([render(of, BOUNDS)], openmetrics=False)).decode()
        self.values: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for family in parse_text(text):
            for sample in family.samples:
                own = {key: text for key, text in sample.labels.items() if key not in _SITE_LABELS}
                self.values[sample.name, frozenset(own.items())] = sample.value

    def __call__(self, name: str, **labels: str) -> float | None:
        return self.values.get((name, frozenset(labels.items())))

    def probe_names(self) -> set[str]:
        return {name for name, _ in self.values if name.startswith("probe_")}

    def labels(self, name: str, label: str) -> set[str]:
        return {dict(labels)[label] for found, labels in self.values if found == name}


def text(openmetrics: bool, *states: SiteState) -> str:
    end = "# EOF\n" if openmetrics else ""
    pieces = expose([render(one, BOUNDS) for one in states], openmetrics=openmetrics)
    return b"".join(pieces).decode() + end


# ---------------------------------------------------------------- the form


def test_every_family_is_shown_of_some_site():
    """Each listed family is shown for some site, and each sample has its family."""
    shown = {family.name for family in parse_openmetrics(text(True, *rich()))}
    assert shown == {family.name.removesuffix("_total") for family in FAMILIES}


@pytest.mark.parametrize("openmetrics", [False, True], ids=["text", "openmetrics"])
def test_metadata_are_those_of_the_list(openmetrics):
    """Both formats give each family its HELP and TYPE, once."""
    shown = text(openmetrics, *rich())
    for family in FAMILIES:
        name = family.name.removesuffix("_total") if openmetrics else family.name
        assert shown.count(f"# HELP {name} {family.help}\n") == 1
        assert shown.count(f"# TYPE {name} {family.type}\n") == 1


def test_both_formats_hold_the_same_samples():
    """Only the metadata differ."""
    plain, openmetrics = text(False, *rich()), text(True, *rich())
    lines = [line for line in plain.splitlines() if not line.startswith("#")]
    assert lines == [line for line in openmetrics.splitlines() if not line.startswith("#")]
    assert len(lines) > 300


def test_a_family_without_samples_has_no_metadata():
    """An exposition of ICMP sites has no HTTP families."""
    assert "probe_http" not in text(False, state(site("icmp"), ICMP))


def test_no_sample_has_a_timestamp():
    """A line has a name, labels and a value."""
    for family in parse_openmetrics(text(True, *rich())):
        assert all(sample.timestamp is None for sample in family.samples)


def test_every_series_carries_the_labels_of_its_site():
    """The labels are site, target and group, and the site's own."""
    expected = {
        "site": "shop-https",
        "target": "https://shop.example.com",
        "group": "storefront",
        "team": "web",
        "tier": "gold",
    }
    for family in parse_text(text(False, state(site(), HTTP))):
        for sample in family.samples:
            assert expected.items() <= sample.labels.items()


def test_sites_of_all_kinds_are_all_shown():
    """Whether sites share families or not, each sample appears once, under the right name."""
    alone = [line for one in rich() for line in text(False, one).splitlines()]
    together = text(False, *rich()).splitlines()
    for lines in (alone, together):
        assert all(line.startswith("#") or line.count("{site=") == 1 for line in lines)
    assert sorted(set(alone)) == sorted(together)


def test_sites_that_show_the_same_share_what_says_so():
    """Of a hundred thousand sites, each stores only its own labels and values."""
    first, second = (render(state(site(name=name), HTTP), BOUNDS) for name in "ab")
    assert first.shape is second.shape


def test_what_is_reused_is_what_would_be_written():
    """Whatever changes from one result to the next, each series shows the later result."""
    pairs = 0
    for before, after in permutations(rich(), 2):
        if before.site.scheme == after.site.scheme:
            last = shown(replace(before, site=after.site))
            assert render(after, BOUNDS, last) == render(after, BOUNDS)
            pairs += 1
    assert pairs


CHANGES: Mapping[str, Mapping[str, Any]] = {
    "state": {
        "status": Status.DOWN,
        "since": 7.0,
        "flapping": True,
        "maintenance": True,
        "because": "dns",
        "joint": replace(JOINT, split=False),
        "content_changed": 8.0,
        "finished": None,
        "streak": 9,
    },
    "counters": {
        "checks": 5000,
        "failures": {Reason.STATUS: 3},
        "errors": 9,
        "skipped": {"late": 1},
        "durations": (6, 3, 1, 1, 0, 2),
        "duration_sum": 15.75,
    },
    "last": {"error": "the monitor has no memory left"},
    "result": {
        "analysis": broken("status", "body", reason=Reason.STATUS),
        "error": "the monitor has no memory left",
    },
    "seen": {
        "time": 1_795_000_060.5,
        "duration": 0.125,
        "phases": {Phase.CONNECT: 0.5},
        "address": "2001:db8::7",
        "answer": None,
        "tls": replace(SESSION, cipher="TLS_CHACHA20_POLY1305_SHA256"),
        "failure": Failure(Reason.DNS_TIMEOUT, "why"),
        "redirects": 3,
    },
    "answer": {
        "status": 503,
        "version": "2",
        "headers": (("LAST-modified", "Wed, 21 Oct 2015 07:28:01 GMT"),),
        "body_size": 77,
        "content_length": -1,
        "redirects": (),
    },
}


def shown(of: SiteState) -> BoardEntry:
    return BoardEntry(of, render(of, BOUNDS))


def changed(one: SiteState, part: str, name: str, value: object) -> SiteState:
    """Return a state with one field changed."""
    new: dict[str, Any] = {name: value}
    was = one.finished
    assert was is not None
    seen = was.observation
    match part:
        case "state":
            return replace(one, **new)
        case "counters":
            return replace(one, counters=replace(one.counters, **new))
        case "last":
            return replace(one, last=replace(was, **new))
        case "result":
            came = replace(was, **new)
        case "seen":
            came = replace(was, observation=replace(seen, **new))
        case _:
            assert isinstance(seen.answer, HttpAnswer)
            came = replace(was, observation=replace(seen, answer=replace(seen.answer, **new)))
    return replace(one, finished=came, last=came)


@pytest.mark.parametrize(
    ("part", "name"), [(part, name) for part, names in CHANGES.items() for name in names]
)
def test_each_thing_that_changes_is_shown(part, name):
    """Reusing the last series never hides a change, in either direction."""
    for before in rich():
        assert before.finished is not None
        if part != "answer" or isinstance(before.finished.observation.answer, HttpAnswer):
            after = changed(before, part, name, CHANGES[part][name])
            assert render(after, BOUNDS, shown(before)) == render(after, BOUNDS)
            assert render(before, BOUNDS, shown(after)) == render(before, BOUNDS)


@pytest.mark.parametrize("header", ["Last-Modified", "LAST-MODIFIED", "Date", "X-Last-Modified"])
def test_a_header_that_changes_in_its_place_is_seen(header):
    """The number of headers is the same, but one has another value or another name."""
    before = changed(state(site(), HTTP), "answer", "headers", (("A", "b"), (header, DATE)))
    for headers in (
        (("A", "b"), (header, DATE.replace("2015", "2016"))),
        ((header, DATE.replace("2015", "2016")), (header, DATE)),
        (("A", "b"), ("B", DATE)),
    ):
        after = changed(before, "answer", "headers", headers)
        assert render(after, BOUNDS, shown(before)) == render(after, BOUNDS)


DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


def test_only_what_moves_is_written_of_a_check_that_repeats_the_last():
    """The rest of an HTTP site comes from the last series, which makes it cheap."""
    for before in rich()[:2]:
        after = changed(changed(before, "seen", "time", NOW + 1), "counters", "checks", 5000)
        last = shown(before)
        new = render(after, BOUNDS, last)
        kept = [one is other for one, other in zip(last.series.values, new.values, strict=True)]
        assert kept.count(False) == 10  # duration, look-up, five phases, checks, time, sum


def test_new_bounds_are_shown_though_the_check_is_as_the_last_one():
    """A bound that moves leaves the counts alone and changes a label."""
    one = state(site(), HTTP)
    moved = (*BOUNDS[:-1], 15.0)
    assert render(one, moved, shown(one)) == render(one, moved) != render(one, BOUNDS)


def test_an_int_and_a_float_that_are_equal_are_written_differently():
    """Only whole numbers that are ints share a text, because 1 and 1.0 are equal."""
    lines = SampleLines(site())
    lines.plain({"probe_success": 1, "probe_duration_seconds": 1.0})
    assert lines.series().values == (b"1", b"1.0")


def test_what_sites_share_is_one_object():
    """If the same state is rendered twice, labels and small counts are the same objects."""
    one = state(site(), HTTP)
    first = render(one, BOUNDS)
    again = render(one, BOUNDS, BoardEntry(one, first))
    assert again.labels is first.labels
    counts = [pair for pair in zip(first.values, again.values, strict=True) if pair[0].isdigit()]
    small = [pair for pair in counts if int(pair[0]) < 1000]
    assert small
    assert all(old is new for old, new in small)


def test_many_sites_are_joined_in_pieces():
    """Each family's metadata come once, first, however many pieces its samples take."""
    series = [render(state(site(name=f"s{n}"), HTTP), BOUNDS) for n in range(1201)]
    pieces = list(expose(series, openmetrics=True))
    assert max(piece.count(b"\n") for piece in pieces) < 5000
    (checks,) = (
        family
        for family in parse_openmetrics(b"".join(pieces).decode() + "# EOF\n")
        if family.name == "monitor_checks"
    )
    assert [sample.labels["site"] for sample in checks.samples] == [f"s{n}" for n in range(1201)]


_UNPRINTABLE = st.text(st.characters(exclude_categories=()))


@given(name=_UNPRINTABLE, group=_UNPRINTABLE, own=_UNPRINTABLE, subject=_UNPRINTABLE)
def test_any_text_survives_as_a_label(name, group, own, subject):
    """Quotes, backslashes and line ends are escaped; what UTF-8 cannot encode is replaced."""
    of = replace(site(name=name, group=group), labels=(("own", own),))
    leaf = replace(LEAF, subject=subject)
    verdict = Verdict(up=True)
    one = state(of, HTTP, Analysis(verdict=verdict, chain=(leaf,)))
    given_values = {"site": name or "shop-https", "group": group, "own": own, "subject": subject}
    expected = {
        key: "".join("\ufffd" if 0xD800 <= ord(char) < 0xE000 else char for char in value)
        for key, value in given_values.items()
    }
    for parse, openmetrics in ((parse_text, False), (parse_openmetrics, True)):
        shown = text(openmetrics, one).encode().decode()
        samples = [s for family in parse(shown) for s in family.samples]
        (info,) = (s for s in samples if s.name == "probe_ssl_last_chain_info")
        assert expected.items() <= info.labels.items()


@pytest.mark.parametrize("value", [0.1, 1e-7, 1234567.5, 1e22, 5])
def test_values_are_read_back_as_they_were(value):
    """No digit is lost between the result and Prometheus."""
    shown = Samples(state(site(), replace(HTTP, duration=value)))
    assert shown("probe_duration_seconds") == value


@pytest.mark.real
def test_promtool_has_nothing_to_say(real, internal):
    """An exposition of every protocol and of the daemon passes Prometheus' own linter."""
    shown = text(False, *rich()).encode() + internal.exposition(openmetrics=False)
    command = [real("promtool"), "check", "metrics"]
    done = subprocess.run(command, input=shown, capture_output=True, check=False, timeout=60)
    assert (done.stdout + done.stderr).decode() == ""
    assert done.returncode == 0


# ---------------------------------------------------------------- presence, protocol by protocol


def _how_it_ended(value: object) -> str | None:
    """Name a row without sets, because processes that share the tests must agree on the name."""
    if isinstance(value, Observation):
        return str(value.failure.reason) if value.failure else "answered"
    return value if isinstance(value, str) else None


@pytest.mark.parametrize(
    ("scheme", "seen", "names"),
    [
        ("http", failed(Reason.DNS_NOT_FOUND), _HTTP_ALWAYS),
        ("http", failed(Reason.CONNECT_REFUSED, address="192.0.2.1"), _HTTP_ALWAYS),
        ("https", failed(Reason.TLS_PROTOCOL, tls=TlsSession()), _HTTP_ALWAYS),
        ("tcp", failed(Reason.CONNECT_REFUSED), _COMMON),
        ("tls", failed(Reason.TLS_TIMEOUT, tls=TlsSession()), _COMMON),
        (
            "tcp",
            replace(TCP, answer=TcpAnswer()),
            _COMMON | {"probe_failed_due_to_regex", "probe_failed_due_to_bytes"},
        ),
        ("icmp", failed(Reason.DNS_TIMEOUT), _COMMON | {"probe_icmp_duration_seconds"}),
        ("icmp", failed(Reason.ICMP_TIMEOUT), _COMMON | {"probe_icmp_duration_seconds"}),
        (
            "icmp",
            ICMP,
            _COMMON | {"probe_icmp_duration_seconds", "probe_icmp_reply_hop_limit"},
        ),
        ("dns", failed(Reason.CONNECT_TIMEOUT), _DNS_ALWAYS),
        ("dns", DNS, _DNS_ALWAYS | {"probe_dns_serial"}),
        ("grpc", failed(Reason.DNS_NOT_FOUND), _GRPC_ALWAYS),
        ("grpc", replace(GRPC, tls=None), _GRPC_ALWAYS | {"probe_grpc_healthcheck_response"}),
        (
            "grpc",
            failed(Reason.CONNECT_REFUSED),
            _GRPC_ALWAYS | {"probe_grpc_healthcheck_response"},
        ),
        ("ws", failed(Reason.DNS_NOT_FOUND), _WEBSOCKET_ALWAYS),
        (
            "ws",
            replace(WEBSOCKET, tls=None),
            _WEBSOCKET_ALWAYS | {"probe_websocket_duration_seconds"},
        ),
    ],
    ids=_how_it_ended,
)
def test_presence(scheme, seen, names):
    """A check shows exactly the families that blackbox_exporter shows for the same check."""
    assert Samples(state(site(scheme), seen)).probe_names() == names


@pytest.mark.parametrize(
    ("scheme", "seen", "names"),
    [
        ("https", HTTP, _TLS | {"probe_tls_cipher_info"}),
        ("tls", replace(TCP, tls=SESSION), _TLS),
        ("tcp", replace(TCP, tls=SESSION), _TLS),
        ("grpcs", GRPC, _TLS - {"probe_ssl_last_chain_expiry_timestamp_seconds"}),
        ("wss", WEBSOCKET, _TLS),
        ("dns", replace(DNS, tls=SESSION), _TLS),
        ("icmp", ICMP, set()),
        ("http", replace(HTTP, tls=None), set()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_presence_over_tls(scheme, seen, names):
    """A completed handshake adds what is known about the chain and the session."""
    shown = Samples(state(site(scheme), seen)).probe_names()
    assert {name for name in shown if name.startswith(("probe_ssl", "probe_tls"))} == names


@pytest.mark.parametrize("scheme", ["http", "https", "tcp", "icmp", "dns", "grpc", "ws"])
def test_a_site_that_was_never_checked(scheme):
    """Nothing is known about it, so only our own counters are shown, starting at 0."""
    shown = Samples(SiteState(site=site(scheme), since=NOW))
    assert shown.probe_names() == set()
    assert shown("monitor_checks_total") == 0
    assert shown("monitor_check_errors_total") == 0
    assert shown("monitor_site_check_error") == 0
    assert shown("monitor_site_interval_seconds") == site(scheme).interval
    assert shown("monitor_check_duration_seconds_count") == 0
    assert shown("monitor_site_up") is None
    assert shown("monitor_last_check_timestamp_seconds") is None


def test_expressions_have_a_gauge_where_there_are_any():
    """Only sites with expressions have probe_failed_due_to_cel."""
    with_one = site(expect=(("status", ("2xx",)), ("that", ("1 == 1",))))
    assert Samples(state(with_one, HTTP))("probe_failed_due_to_cel") == 0
    assert Samples(state(site(), HTTP))("probe_failed_due_to_cel") is None


@pytest.mark.parametrize(
    ("keys", "reason", "regex", "cel"),
    [
        ((), None, 0, 0),
        (("status",), Reason.STATUS, 0, 0),
        (("header",), Reason.HEADER, 1, 0),
        (("body",), Reason.BODY, 1, 0),
        (("body", "that"), Reason.BODY, 1, 0),
        (("that",), Reason.EXPRESSION, 0, 1),
        (("latency", "that"), Reason.LATENCY, 0, 1),
        (("status", "body", "that"), Reason.STATUS, 0, 0),
        (("latency", "body"), Reason.BODY, 1, 0),
    ],
    ids=str,
)
def test_what_a_probe_failed_due_to(keys, reason, regex, cel):
    """As in blackbox_exporter, rules after the first broken one do not count."""
    of = site(expect=(("that", ("1 == 1",)),))
    analysis = broken(*keys, reason=reason) if reason else Analysis(verdict=Verdict(up=True))
    shown = Samples(state(of, replace(HTTP, tls=None), analysis))
    assert shown("probe_failed_due_to_regex") == regex
    assert shown("probe_failed_due_to_cel") == cel


# ---------------------------------------------------------------- values every protocol has


def test_success_and_durations():
    """They are the verdict, the duration of the check, and the site's deadline."""
    shown = Samples(state(site(), HTTP))
    assert shown("probe_success") == 1
    assert shown("probe_duration_seconds") == 0.0625
    assert shown("probe_timeout_seconds") == 5
    assert shown("probe_dns_lookup_time_seconds") == 0.001
    down = Samples(state(site(), HTTP, broken("status", reason=Reason.STATUS)))
    assert down("probe_success") == 0


@pytest.mark.parametrize(
    ("address", "protocol", "hashed"),
    [
        # as blackbox_exporter 0.23 shows them
        ("127.0.0.1", 4, 3668918509),
        ("::1", 6, 1751717746),
        ("::ffff:127.0.0.1", 4, 3668918509),
        ("::1%lo", 6, 1751717746),
        (None, 0, 0),
    ],
    ids=str,
)
def test_the_address_that_was_contacted(address, protocol, hashed):
    """Its family and its hash are shown, or 0 if no name was resolved."""
    shown = Samples(state(site(), replace(HTTP, address=address)))
    assert shown("probe_ip_protocol") == protocol
    assert shown("probe_ip_addr_hash") == hashed


# ---------------------------------------------------------------- HTTP


def test_http_values():
    """They are those of the final answer."""
    shown = Samples(state(site(), HTTP))
    assert shown("probe_http_status_code") == 200
    assert shown("probe_http_version") == 1.1
    assert shown("probe_http_content_length") == 512
    assert shown("probe_http_uncompressed_body_length") == 1234
    assert shown("probe_http_redirects") == 1
    assert shown("probe_http_ssl") == 1
    assert shown("probe_http_duration_seconds", phase="processing") == 0.05
    assert shown("probe_tls_cipher_info", cipher="TLS_AES_128_GCM_SHA256") == 1


def test_an_http_version_that_nobody_knows_is_0():
    """Whatever version an answer claims, its metrics are rendered."""
    for version in ("1.1\t200", "", "nan"):
        shown = Samples(
            state(site(), replace(HTTP, answer=HttpAnswer(status=200, version=version)))
        )
        assert shown("probe_http_version") == 0


def test_a_length_the_server_did_not_say():
    """It is -1, while 0 means that there was no answer."""
    silent = replace(HTTP, answer=HttpAnswer(status=200, version="2"))
    assert Samples(state(site(), silent))("probe_http_content_length") == -1
    nothing = Samples(state(site(), failed(Reason.CONNECT_REFUSED)))
    assert nothing("probe_http_content_length") == 0
    assert nothing("probe_http_status_code") == 0


def test_a_name_that_is_not_found_has_one_phase():
    """The phase is resolve, with the time of the whole check if the transport does not say."""
    shown = Samples(state(site(), failed(Reason.DNS_NOT_FOUND)))
    assert shown.labels("probe_http_duration_seconds", "phase") == {"resolve"}
    assert shown("probe_http_duration_seconds", phase="resolve") == 0.25
    assert shown("probe_dns_lookup_time_seconds") == 0.25


def test_phases_that_were_not_reached_are_zero():
    """Once the name was found, all five phases are shown."""
    seen = failed(Reason.CONNECT_TIMEOUT, phases={Phase.RESOLVE: 0.125})
    shown = Samples(state(site(), seen))
    values = {phase: shown("probe_http_duration_seconds", phase=phase) for phase in Phase}
    assert values == dict.fromkeys(Phase) | {
        "resolve": 0.125,
        "connect": 0,
        "tls": 0,
        "processing": 0,
        "transfer": 0,
    }


def test_a_redirect_to_a_name_that_is_not_found():
    """The phases of the earlier hops stay."""
    seen = failed(Reason.DNS_NOT_FOUND, HTTP, address="192.0.2.1")
    shown = Samples(state(site(), seen))
    assert len(shown.labels("probe_http_duration_seconds", "phase")) == 5


@pytest.mark.parametrize(
    "value",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ],
)
def test_last_modified_in_each_form_of_the_standard(value):
    """RFC 9110 has one form to send and two more to understand."""
    seen = replace(
        HTTP, answer=HttpAnswer(status=200, version="2", headers=(("LAST-modified", value),))
    )
    shown = Samples(state(site(), seen))
    assert shown("probe_http_last_modified_timestamp_seconds") == 784111777


@pytest.mark.parametrize("value", ["", "yesterday", "Sun, 06 Nov 1994 08:49:37 +0100", "x" * 10**6])
def test_last_modified_that_is_no_date(value):
    """The series is absent."""
    seen = replace(
        HTTP, answer=HttpAnswer(status=200, version="2", headers=(("Last-Modified", value),))
    )
    shown = Samples(state(site(), seen))
    assert shown("probe_http_last_modified_timestamp_seconds") is None


# ---------------------------------------------------------------- certificates


def test_expiry_is_that_of_the_first_to_expire():
    """One series covers all that the server sent, the other the trusted chain."""
    early = replace(INTERMEDIATE, not_after=NOW + DAY)
    analysis = Analysis(verdict=Verdict(up=True), chain=(LEAF, early), validity=VALIDITY)
    shown = Samples(state(site(), HTTP, analysis))
    assert shown("probe_ssl_earliest_cert_expiry") == NOW + DAY
    assert shown("probe_ssl_last_chain_expiry_timestamp_seconds") == LEAF.not_after
    assert shown("monitor_certificate_not_before_timestamp_seconds") == LEAF.not_before


def test_our_own_certificate_has_a_series():
    """Its expiry is shown even if the server refused it, so that there is no chain."""
    seen = failed(Reason.TLS_CLIENT_CERTIFICATE, tls=TlsSession(client=("PEM",)))
    verdict = Verdict(up=False, reason=Reason.TLS_CLIENT_CERTIFICATE, message="expired")
    shown = Samples(state(site(), seen, Analysis(verdict=verdict, client=LEAF)))
    assert shown("monitor_client_certificate_expiry_timestamp_seconds") == LEAF.not_after
    assert shown("monitor_client_certificate_not_before_timestamp_seconds") == LEAF.not_before
    assert shown("monitor_certificate_not_before_timestamp_seconds") is None


def test_a_chain_that_was_refused_shows_its_expiry():
    """Verified is 0 then; there is no accepted chain and no session."""
    seen = failed(Reason.TLS_EXPIRED, tls=TlsSession(chain=("PEM",), verified=False))
    expired = replace(LEAF, not_after=NOW - DAY)
    verdict = Verdict(up=False, reason=Reason.TLS_EXPIRED, message="expired")
    shown = Samples(state(site(), seen, Analysis(verdict=verdict, chain=(expired,))))
    assert shown.probe_names() == _HTTP_ALWAYS | _CERTIFICATE
    assert shown("probe_ssl_earliest_cert_expiry") == NOW - DAY
    assert shown("probe_http_ssl") == 0
    assert shown("monitor_certificate_verified") == 0


@pytest.mark.parametrize(
    ("tls", "expected"),
    [
        (SESSION, 1),
        (replace(SESSION, verified=False), 0),
        (replace(SESSION, verified=None), None),
        (None, None),
    ],
    ids=["accepted", "refused", "not asked", "plain"],
)
def test_whether_a_certificate_was_verified(tls, expected):
    """The series is absent if there is nothing to verify, or the site asked not to."""
    shown = Samples(state(site(), replace(HTTP, tls=tls)))
    assert shown("monitor_certificate_verified") == expected


def test_an_unverified_chain_has_no_accepted_expiry():
    """With verification off it is unknown which chain would have been accepted."""
    shown = Samples(state(site(), replace(HTTP, tls=replace(SESSION, verified=None))))
    assert shown("probe_ssl_last_chain_expiry_timestamp_seconds") is None
    assert shown("probe_ssl_earliest_cert_expiry") == LEAF.not_after


def test_the_leaf_is_described_as_blackbox_exporter_does():
    """It has DNS names only, and whole bytes of the serial number."""
    odd = replace(LEAF, serial="fab")
    analysis = Analysis(verdict=Verdict(up=True), chain=(odd, INTERMEDIATE))
    shown = Samples(state(site(), HTTP, analysis))
    info = {
        "fingerprint_sha256": "ab" * 32,
        "subject": "CN=shop.example.com",
        "issuer": "CN=R11,O=Let's Encrypt,C=US",
        "subjectalternative": "shop.example.com,www.example.com",
        "serialnumber": "0fab",
    }
    assert shown("probe_ssl_last_chain_info", **info) == 1


def test_a_certificate_of_a_thousand_names():
    """It is described in full, however long that gets."""
    names = tuple(f"host-{number}.example.com" for number in range(1000))
    analysis = Analysis(verdict=Verdict(up=True), chain=(replace(LEAF, names=names),))
    shown = Samples(state(site(), HTTP, analysis))
    assert shown.labels("probe_ssl_last_chain_info", "subjectalternative") == {",".join(names)}


# ---------------------------------------------------------------- the other protocols


def test_a_dialogue_that_went_wrong():
    """The pattern is to blame, whether or not the probe kept what it received."""
    for answer in (TcpAnswer(received=b"220 nope"), None):
        seen = failed(Reason.TCP_DIALOGUE, TCP, answer=answer)
        shown = Samples(state(site("tcp"), seen))
        assert shown("probe_failed_due_to_regex") == 1
        assert shown("probe_failed_due_to_bytes") == 0


def test_a_dialogue_whose_bytes_did_not_come():
    """If a step expected bytes, they are to blame, and no pattern is."""
    seen = failed(Reason.TCP_DIALOGUE, TCP, answer=TcpAnswer(received=b"N", bytes_differ=True))
    shown = Samples(state(site("tcp"), seen))
    assert shown("probe_failed_due_to_regex") == 0
    assert shown("probe_failed_due_to_bytes") == 1


def test_captures_become_an_info_series():
    """Each named group of the dialogue is a label."""
    shown = Samples(state(site("tcp"), TCP))
    assert shown("probe_expect_info", version="OpenSSH_9.2", protocol="2.0") == 1


def test_a_capture_gives_way_to_the_labels_of_its_site():
    """A name that is taken becomes exported_…, as in Prometheus; a non-label is left out."""
    captures = (("site", "a"), ("team", "b"), ("exported_team", "c"), ("__x", "d"), ("größe", "e"))
    of = replace(site("tcp"), labels=(("team", "web"), ("tier", "gold"), ("exported_site", "z")))
    seen = replace(TCP, answer=TcpAnswer(captures=captures))
    one = state(of, seen)
    (info,) = (f for f in parse_text(text(False, one)) if f.name == "probe_expect_info")
    labels = info.samples[0].labels
    assert labels["exported_exported_site"] == "a"
    assert labels["exported_site"] == "z"
    assert labels["exported_team"] == "c"
    assert set(labels) == {
        *_SITE_LABELS,
        "exported_site",
        "exported_exported_site",
        "exported_team",
    }


def test_icmp_values():
    """It has all three phases and the last reply's hop limit."""
    shown = Samples(state(site("icmp"), ICMP))
    assert shown("probe_icmp_duration_seconds", phase="rtt") == 0.02
    assert shown("probe_icmp_reply_hop_limit") == 57
    silent = Samples(state(site("icmp"), failed(Reason.ICMP_TIMEOUT)))
    assert silent.labels("probe_icmp_duration_seconds", "phase") == {"resolve", "setup", "rtt"}
    assert silent("probe_icmp_duration_seconds", phase="rtt") == 0


def test_dns_values():
    """It shows entries by section, whether there was a reply, and the zone's serial number."""
    shown = Samples(state(site("dns"), DNS))
    assert shown("probe_dns_answer_rrs") == 1
    assert shown("probe_dns_authority_rrs") == 2
    assert shown("probe_dns_additional_rrs") == 0
    assert shown("probe_dns_query_succeeded") == 1
    assert shown("probe_dns_serial") == 2026112201
    assert shown.labels("probe_dns_duration_seconds", "phase") == {"resolve", "connect", "request"}
    silent = Samples(state(site("dns"), failed(Reason.CONNECT_TIMEOUT)))
    assert silent("probe_dns_query_succeeded") == 0


def test_dns_over_tls_connects_with_tls():
    """The handshake is part of connecting, because blackbox_exporter has one phase for both."""
    seen = replace(DNS, phases={Phase.CONNECT: 0.25, Phase.TLS: 0.5, Phase.REQUEST: 1.0})
    shown = Samples(state(site("dns"), seen))
    assert shown("probe_dns_duration_seconds", phase="connect") == 0.75
    assert shown.labels("probe_dns_duration_seconds", "phase") == {"resolve", "connect", "request"}


def test_grpc_values():
    """Every serving status is shown, and the one in the answer is 1."""
    shown = Samples(state(site("grpcs"), GRPC))
    assert shown("probe_grpc_ssl") == 1
    assert shown("probe_grpc_status_code") == 0
    statuses = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
    assert [shown("probe_grpc_healthcheck_response", serving_status=one) for one in statuses] == [
        0,
        1,
        0,
        0,
    ]
    for reason, code in ((Reason.CONNECT_REFUSED, 14), (Reason.TLS_TIMEOUT, 4)):
        unconnected = Samples(state(site("grpc"), failed(reason, address="127.0.0.1")))
        assert unconnected("probe_grpc_status_code") == code

    refused = replace(GRPC, answer=GrpcAnswer(status_code=14), tls=None)
    shown = Samples(state(site("grpc"), refused))
    assert shown("probe_grpc_status_code") == 14
    assert shown("probe_grpc_healthcheck_response", serving_status="SERVING") == 0


def test_websocket_processing_is_all_of_the_handshake():
    """TLS is included, because blackbox_exporter has no phase for it."""
    shown = Samples(state(site("wss"), WEBSOCKET))
    phases = shown.labels("probe_websocket_duration_seconds", "phase")
    assert phases == {"resolve", "connect", "processing", "transfer"}
    processing = shown("probe_websocket_duration_seconds", phase="processing")
    assert processing is not None
    assert math.isclose(processing, 0.014)
    assert shown("probe_websocket_connection_upgraded") == 1
    assert shown("probe_websocket_status_code") == 101


# ---------------------------------------------------------------- our own counters


def test_counters():
    """Failures are counted by each reason that occurred, skipped slots by cause."""
    shown = Samples(state(site(), HTTP))
    assert shown("monitor_checks_total") == 11
    assert shown("monitor_check_failures_total", reason="status") == 2
    assert shown("monitor_check_failures_total", reason="connect_timeout") == 1
    assert shown.labels("monitor_check_failures_total", "reason") == {"status", "connect_timeout"}
    assert shown("monitor_check_errors_total") == 4
    assert shown("monitor_checks_skipped_total", cause="threads") == 3


def test_the_histogram_is_cumulative():
    """Each bucket includes those before it, and the last one includes all."""
    shown = Samples(state(site(), HTTP))
    name = "monitor_check_duration_seconds"
    counts = [shown(f"{name}_bucket", le=le) for le in ("0.1", "0.5", "1.0", "5.0", "10.0", "+Inf")]
    assert counts == [5, 8, 9, 10, 10, 11]
    assert shown(f"{name}_count") == 11
    assert shown(f"{name}_sum") == 14.5


def test_counts_that_do_not_fit_the_bounds_are_a_bug():
    """Such counts are not shown under wrong bounds."""
    with pytest.raises(ValueError, match="zip"):
        render(state(site(), HTTP), (0.1, 0.5))


@pytest.mark.parametrize(
    ("status", "expected"),
    [(Status.UP, 1), (Status.DOWN, 0), (Status.UNKNOWN, None), (Status.MAINTENANCE, None)],
)
def test_the_confirmed_state(status, expected):
    """It is shown beside the raw result, and only if the state is up or down."""
    shown = Samples(state(site(), HTTP, status=status))
    assert shown("monitor_site_up") == expected
    assert shown("monitor_site_state_since_timestamp_seconds") == NOW - DAY
    assert shown("probe_success") == 1


def test_gauges_hold_the_last_finished_check():
    """An error of the monitor's own changes nothing that is said about the site."""
    of = site()
    before = state(of, HTTP)
    spoilt = Result(
        site=of.name, url=of.target, observation=failed(Reason.STATUS), error="no files"
    )
    after = replace(before, last=spoilt, counters=replace(COUNTERS, errors=5))
    shown = Samples(after)
    assert shown("probe_success") == 1
    assert shown("monitor_last_check_timestamp_seconds") == NOW
    assert shown("monitor_check_errors_total") == 5


def test_an_error_of_ours_is_shown_until_a_check_is_finished():
    """Whether the last check says anything about the site is 0 or 1, whatever came before."""
    of = site(interval=45.0)
    before = state(of, HTTP)
    spoilt = replace(before, last=replace(result(of, HTTP), analysis=None, error="no files"))
    after = replace(spoilt, last=result(of, HTTP))
    shown = [Samples(one) for one in (before, spoilt, after)]
    assert [one("monitor_site_check_error") for one in shown] == [0, 1, 0]
    assert [one("monitor_site_interval_seconds") for one in shown] == [45, 45, 45]


def test_counters_of_a_state_without_counts():
    """The default record stands for a site that was never checked."""
    shown = Samples(state(site(), HTTP, counters=Counters()))
    assert shown("monitor_check_duration_seconds_bucket", le="+Inf") == 0


# ---------------------------------------------------------------- what is answered


@pytest.fixture
def internal():
    return Internal(version="1.2.3", libcurl="8.23.0", registry=CollectorRegistry())


@pytest.fixture
def board():
    board = StatusBoard()
    board.publish(BoardEntry(one, render(one, BOUNDS)) for one in rich())
    return board


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def page(board, internal, clock):
    return Exposition(board, internal, clock)


def read(answer) -> str:
    _, pieces = answer
    return b"".join(pieces).decode()


@pytest.mark.parametrize(
    ("accept", "parse"),
    [("", parse_text), (_OPENMETRICS, parse_openmetrics)],
    ids=["text", "openmetrics"],
)
def test_a_scrape_holds_sites_and_daemon(page, accept, parse):
    """It is one exposition that the library's own parser reads whole, each family once."""
    names = [family.name for family in parse(read(page.scrape(accept)))]
    assert len(names) == len(set(names))
    assert {"probe_success", "monitor_build_info" if not accept else "monitor_build"} <= set(names)
    assert "process_open_fds" in names


@pytest.mark.parametrize("accept", ["", _OPENMETRICS], ids=["text", "openmetrics"])
def test_some_sites_only(page, accept):
    """They come without the daemon's own metrics, each once, however often it is requested."""
    parse = parse_openmetrics if accept else parse_text
    answer = page.scrape(accept, ["shop-icmp", "shop-dns", "shop-icmp"])
    families = list(parse(read(answer)))
    assert {s.labels["site"] for f in families for s in f.samples} == {"shop-icmp", "shop-dns"}
    (success,) = (family for family in families if family.name == "probe_success")
    assert [sample.labels["site"] for sample in success.samples] == ["shop-icmp", "shop-dns"]


def test_a_site_that_is_not_listed(page):
    """It is named before anything is answered."""
    with pytest.raises(LookupError, match=r"^nowhere$"):
        page.scrape("", ["shop-dns", "nowhere"])


def test_a_site_that_leaves_takes_its_series_along(page, board):
    """The next scrape does not show it."""
    assert "shop-icmp" in read(page.scrape(""))
    board.remove(["shop-icmp"])
    assert "shop-icmp" not in read(page.scrape(""))


def test_scrapes_are_timed(page, internal, clock):
    """The time runs from the request to the last piece, and the next scrape shows it."""
    _, pieces = page.scrape("")
    next(pieces)
    clock.advance(0.25)
    list(pieces)
    shown = internal.exposition(openmetrics=False).decode()
    assert "monitor_scrape_duration_seconds_sum 0.25\n" in shown
    assert "monitor_scrape_duration_seconds_count 1.0\n" in shown


@pytest.mark.parametrize("accept", ["", _OPENMETRICS], ids=["text", "openmetrics"])
@pytest.mark.parametrize("one", rich(), ids=lambda one: one.site.scheme)
def test_a_probe_answers_without_the_labels_of_a_site(accept, one):
    """/probe shows blackbox_exporter's families unchanged, as the scraper names the target."""
    assert one.finished is not None
    content_type, body = probe_exposition(one.site, one.finished, accept)
    assert content_type == negotiate(accept)[0]
    families = list((parse_openmetrics if accept else parse_text)(body.decode()))
    assert {f.name for f in families} == Samples(one).probe_names()
    assert {f.name for f in families} <= {family.name for family in PROBE_FAMILIES}
    assert not {key for f in families for s in f.samples for key in s.labels} & set(_SITE_LABELS)


def test_a_probe_that_could_not_look_has_nothing_to_show():
    """The web server answers with the monitor's fault instead."""
    of = site()
    spoilt = Result(site=of.name, url=of.target, observation=HTTP, error="no files")
    with pytest.raises(ValueError, match="shop-https"):
        probe_exposition(of, spoilt, "")


def test_the_label_of_a_changed_site_changes():
    """A site's remembered labels are keyed by their content."""
    one = state(site(), HTTP)
    moved = replace(one, site=replace(one.site, group="other"))
    assert 'group="storefront"' in text(False, one)
    assert 'group="other"' in text(False, moved)


def test_what_qualifies_the_confirmed_state():
    """Flapping and maintenance are 0 or 1 for every site and leave the state unchanged."""
    calm = Samples(state(site(), HTTP, status=Status.DOWN))
    assert (calm("monitor_site_flapping"), calm("monitor_site_maintenance")) == (0, 0)
    both = replace(state(site(), HTTP, status=Status.DOWN), flapping=True, maintenance=True)
    shown = Samples(both)
    assert (shown("monitor_site_flapping"), shown("monitor_site_maintenance")) == (1, 1)
    assert shown("monitor_site_up") == 0
