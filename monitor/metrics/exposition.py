"""
The series of one site, whose values become text in the main thread when a result arrives.

The same lines serve the text format 0.0.4 and OpenMetrics 1.0: only HELP, TYPE and the end differ,
which scrape.py adds when Prometheus asks.
"""

from functools import lru_cache

from monitor.board import Series
from monitor.metrics.lines import SampleLines, label_of_few, label_text
from monitor.metrics.protocols import show_result
from monitor.model import Analysis, Extracted, Joint, Seconds, SiteState, Status


def render(state: SiteState, bounds: tuple[Seconds, ...], last: Series | None = None) -> Series:
    """
    Return the site's sample lines as they stand after a result.

    Args:
        bounds: The upper bounds of the histogram's buckets; the counters were made with them.
        last: This site's previous series, whose labels are reused.
    """
    site = state.site
    lines = SampleLines(site, last)
    if state.finished is not None:
        show_result(lines, site, state.finished)
    _show_state(lines, state, bounds)
    return lines.series()


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
    lines.histogram("monitor_check_duration_seconds", buckets, durations, counters.duration_sum)


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
