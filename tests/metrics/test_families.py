"""The list of families, checked against the rules for names and labels."""

import re

import pytest

from monitor.metrics.families import FAMILIES, PROBE_FAMILIES, RESERVED_LABELS

_UNITS = ("seconds", "bytes", "ratio")


def test_each_name_stands_once():
    """No family is listed twice."""
    names = [family.name for family in FAMILIES]
    assert len(names) == len(set(names))


def test_what_is_blackbox_exporters_is_told_by_the_name():
    """The probe_ families are those of /probe, and the others are ours."""
    for family in FAMILIES:
        assert family.name.startswith("probe_" if family in PROBE_FAMILIES else "monitor_")


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_name_tells_its_type(family):
    """Every counter and nothing else ends in _total; no name looks like part of a histogram."""
    assert re.fullmatch(r"[a-z][a-z0-9_]*", family.name)
    assert family.name.endswith("_total") is (family.type == "counter")
    assert not family.name.endswith(("_sum", "_count", "_bucket", "_created"))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_help_needs_no_escaping(family):
    """HELP is one line that reads the same in both formats."""
    assert family.help
    assert not set(family.help) & set('\\"\n')


def test_our_durations_and_moments_are_in_seconds():
    """They use base units, which the name ends in, before _total."""
    for family in FAMILIES:
        if family not in PROBE_FAMILIES and re.search("duration|timestamp", family.name):
            assert family.name.removesuffix("_total").endswith(_UNITS)


@pytest.mark.parametrize(
    "label",
    [
        *("site", "target", "group", "phase", "reason", "cause", "version", "cipher"),
        *("le", "quantile", "serving_status", "fingerprint_sha256", "subject", "issuer"),
        *("subjectalternative", "serialnumber"),
    ],
)
def test_labels_in_use_are_reserved(label):
    """A site may not use a label that distinguishes samples."""
    assert label in RESERVED_LABELS


@pytest.mark.parametrize("label", ["instance", "job", "team"])
def test_other_labels_are_free(label):
    """That includes instance and job, for which Prometheus has a rule."""
    assert label not in RESERVED_LABELS


def test_openmetrics_names_a_counter_without_total():
    """Only the metadata differ between the formats."""
    counter = next(family for family in FAMILIES if family.name == "monitor_checks_total")
    assert "# TYPE monitor_checks counter\n" in counter.header(openmetrics=True)
    assert "# TYPE monitor_checks_total counter\n" in counter.header(openmetrics=False)
