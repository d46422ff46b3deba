"""
The series of one site, whose values become text in the main thread when a result arrives.

The same lines serve the text format 0.0.4 and OpenMetrics 1.0: only HELP, TYPE and the end differ,
which scrape.py adds when Prometheus asks.

Most checks of a site find what the last one found, and change only durations, the time and counts:
then only these become text again, which takes half as long.
"""

from collections.abc import Sequence
from functools import lru_cache

from monitor.board import BoardEntry, Series, Shape
from monitor.metrics.lines import SampleLines, histogram_values, label_of_few, label_text, texts
from monitor.metrics.protocols import HTTP_TIMES, http_times, repeats, show_result
from monitor.model import Analysis, Extracted, Joint, Seconds, SiteState, Status

_HISTOGRAM = "monitor_check_duration_seconds"
_MOVING = (*HTTP_TIMES, "monitor_checks_total", "monitor_last_check_timestamp_seconds", _HISTOGRAM)
"""The families that each HTTP check changes, in the order of `_moving`."""


def render(state: SiteState, bounds: tuple[Seconds, ...], last: BoardEntry | None = None) -> Series:
    """
    Return the site's sample lines as they stand after a result.

    Args:
        bounds: The upper bounds of the histogram's buckets; the counters were made with them.
        last: What the board shows of this very site, which is reused.
    """
    site = state.site
    if last is not None and _repeats(state, last.state):
        columns = _moving_columns(last.series.shape, bounds)
        if columns:
            return _with(last.series, columns, texts(_moving(state)))
    lines = SampleLines(site, last.series if last else None)
    if state.finished is not None:
        show_result(lines, site, state.finished)
    _show_state(lines, state, bounds)
    return lines.series()


def _repeats(state: SiteState, last: SiteState) -> bool:
    """Return whether all that a state shows was shown before, except `_MOVING`."""
    finished, former = state.finished, last.finished
    counters, before = state.counters, last.counters
    return (
        finished is not None
        and former is not None
        and finished is state.last  # else the last check was an error, which has a gauge
        and former is last.last
        and finished.error is former.error is None
        and state.status is last.status
        and state.since == last.since
        and state.flapping == last.flapping
        and state.maintenance == last.maintenance
        and state.because == last.because
        and state.joint is last.joint
        and state.content_changed == last.content_changed
        and counters.errors == before.errors
        and counters.failures is before.failures
        and counters.skipped is before.skipped
        and (finished.analysis is former.analysis or finished.analysis == former.analysis)
        and repeats(finished.observation, former.observation)
    )


def _moving(state: SiteState) -> Sequence[float]:
    assert state.finished is not None  # noqa: S101  as _repeats has seen
    counters, seen = state.counters, state.finished.observation
    histogram = histogram_values(counters.durations, counters.duration_sum)
    return (*http_times(seen), counters.checks, seen.time, *histogram)


@lru_cache(maxsize=1024)
def _moving_columns(shape: Shape, bounds: tuple[Seconds, ...]) -> tuple[int, ...]:
    """Return where the values of `_moving` are; empty if such sites show others."""
    families = shape.families
    if any(family not in families for family in _MOVING):
        return ()
    after = [f",{label}}} ".encode() for label in _bucket_labels(bounds)]
    if [sample.after for sample in families[_HISTOGRAM][: -len(_SUMS)]] != after:
        return ()  # the bounds have changed
    return tuple(sample.column for family in _MOVING for sample in families[family])


_SUMS = ("_sum", "_count")
"""The samples that follow a histogram's buckets."""


def _with(series: Series, columns: Sequence[int], changed: Sequence[bytes]) -> Series:
    values = list(series.values)
    for column, text in zip(columns, changed, strict=True):
        values[column] = text
    return Series(series.shape, series.labels, tuple(values))


@lru_cache(maxsize=64)
def _bucket_labels(bounds: tuple[Seconds, ...]) -> tuple[str, ...]:
    return (*(f'le="{float(bound)}"' for bound in bounds), 'le="+Inf"')


def _show_state(lines: SampleLines, state: SiteState, bounds: tuple[Seconds, ...]) -> None:
    counters = state.counters
    values: dict[str, float] = {
        "monitor_checks_total": counters.checks,
        "monitor_check_errors_total": counters.errors,
        "monitor_site_state_since_timestamp_seconds": state.since,
        "monitor_site_flapping": int(state.flapping),
        "monitor_site_maintenance": int(state.maintenance),
        "monitor_site_check_error": int(state.last is not None and state.last.error is not None),
        "monitor_site_interval_seconds": state.site.interval,
    }
    if state.status is Status.UP:
        values["monitor_site_up"] = 1
    elif state.status is Status.DOWN:
        values["monitor_site_up"] = 0
    if state.finished is not None:
        seen = state.finished.observation
        values["monitor_last_check_timestamp_seconds"] = seen.time
        if seen.tls is not None and seen.tls.verified is not None:
            values["monitor_certificate_verified"] = int(seen.tls.verified)
        if state.finished.analysis is not None:
            values |= _of_analysis(lines, state.finished.analysis)
    if state.joint is not None:
        values["monitor_site_split"] = int(state.joint.split)
        _show_votes(lines, state.joint)
    if state.content_changed is not None:
        values["monitor_content_changed_timestamp_seconds"] = state.content_changed
    lines.plain(values)
    _show_cause(lines, state)
    for name, label, counts in (
        ("monitor_check_failures_total", "reason", counters.failures),
        ("monitor_checks_skipped_total", "cause", counters.skipped),
    ):
        if counts:
            samples = [(label_of_few(label, value), count) for value, count in counts.items()]
            lines.free(name, samples)
    buckets = _bucket_labels(bounds)
    durations = counters.durations or (0,) * len(buckets)
    lines.histogram(_HISTOGRAM, buckets, durations, counters.duration_sum)


def _of_analysis(lines: SampleLines, analysis: Analysis) -> dict[str, float]:
    """Return the single-sample families of the certificates, and show extracted values."""
    values: dict[str, float] = {}
    if analysis.validity is not None:
        not_before, _ = analysis.validity
        values["monitor_certificate_not_before_timestamp_seconds"] = not_before
    if analysis.client is not None:
        name = "monitor_client_certificate_{}_timestamp_seconds"
        values[name.format("not_before")] = analysis.client.not_before
        values[name.format("expiry")] = analysis.client.not_after
    if analysis.extracted:
        _show_extracted(lines, analysis.extracted)
    return values


def _show_votes(lines: SampleLines, joint: Joint) -> None:
    ups, downs = joint.ups(), joint.downs()
    counts = (("up", ups), ("down", downs), ("none", len(joint.votes) - ups - downs))
    lines.labelled(
        "monitor_site_votes", [(label_of_few("vote", vote), count) for vote, count in counts]
    )
    said = [
        (label_of_few("location", vote.location), int(vote.state is Status.UP))
        for vote in joint.votes
        if vote.counted
    ]
    if said:
        lines.free("monitor_site_location_up", said)


def _show_cause(lines: SampleLines, state: SiteState) -> None:
    if state.because:
        sample = (label_text("because", state.because), 1.0)
        lines.free("monitor_site_suppressed", [sample])


def _show_extracted(lines: SampleLines, extracted: tuple[Extracted, ...]) -> None:
    numbers: list[tuple[str, float]] = []
    texts: list[tuple[str, float]] = []
    for one in extracted:
        name = label_of_few("name", one.name)
        if isinstance(one.value, str):
            texts.append((f"{name},{label_text('value', one.value)}", 1))
        elif one.value is not None:
            numbers.append((name, one.value))
    if numbers:
        lines.free("monitor_extracted_value", numbers)
    if texts:
        lines.free("monitor_extracted_info", texts)
