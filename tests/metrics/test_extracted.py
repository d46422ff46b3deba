"""Values extracted from answers, and the time of a change, as series."""

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from monitor.metrics.exposition import render
from monitor.metrics.scrape import expose
from monitor.model import UP, Analysis, Extracted
from tests.metrics.states import BOUNDS, HTTP, NOW, site, state


def samples(one) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Return the samples by family, without the labels of the site."""
    text = b"".join(expose([render(one, BOUNDS)], openmetrics=False)).decode()
    return {
        family.name: [
            (
                {key: sample.labels[key] for key in ("name", "value") if key in sample.labels},
                sample.value,
            )
            for sample in family.samples
        ]
        for family in text_string_to_metric_families(text)
    }


def with_values(*extracted: Extracted):
    return state(site(), HTTP, Analysis(verdict=UP, extracted=extracted))


def test_values_and_labels_are_two_families():
    """A number is a value; a text is 1 with the text in a label; each has its name."""
    found = samples(
        with_values(
            Extracted(name="depth", value=0.5),
            Extracted(name="big", value=1e22),
            Extracted(name="version", value="1.2"),
        )
    )
    assert found["monitor_extracted_value"] == [({"name": "depth"}, 0.5), ({"name": "big"}, 1e22)]
    assert found["monitor_extracted_info"] == [({"name": "version", "value": "1.2"}, 1)]


def test_what_was_not_found_has_no_series():
    """It is absent, neither 0 nor an empty label; if nothing was found, so is the family."""
    lost = Extracted(name="depth", why="body is not JSON")
    found = samples(with_values(lost, Extracted(name="on", value=1.0)))
    assert found["monitor_extracted_value"] == [({"name": "on"}, 1)]
    assert "monitor_extracted_info" not in found
    assert "monitor_extracted_value" not in samples(with_values(lost))
    assert "monitor_extracted_value" not in samples(with_values())


def test_a_change_is_shown_once_there_was_one():
    """The first content does not count as a change."""
    one = replace(with_values(), content="ab" * 32)
    name = "monitor_content_changed_timestamp_seconds"
    assert name not in samples(one)
    assert samples(replace(one, content_changed=NOW))[name] == [({}, NOW)]


@given(
    st.text(max_size=128),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_any_value_is_read_back(text, number):
    """Whatever the answer held, Prometheus can read the exposition."""
    found = samples(
        with_values(Extracted(name="text", value=text), Extracted(name="number", value=number))
    )
    ((labels, one),) = found["monitor_extracted_info"]
    assert (labels["name"], one) == ("text", 1)
    assert labels["value"] == text
    ((_, value),) = found["monitor_extracted_value"]
    assert value == number
    assert math.isfinite(value)
