"""The engine's log lines: changes of sites, faults of our own, and the end."""

import logging
from collections.abc import Iterable

from monitor.logs import fields
from monitor.model import Failure, Result, Seconds, Site, SiteState, Status, Transition
from monitor.places import Sender

_log = logging.getLogger(__name__)


def entered(before: SiteState, state: SiteState, transition: Transition | None) -> None:
    """Report what a result changed, if anything; ``transition`` as state.advance returned it."""
    if transition is not None:
        alarm = transition.after is Status.DOWN and not state.flapping
        _tell(f"site_{transition.after}", state, transition.before, alarm=alarm)
    if state.flapping and not before.flapping:
        _tell("site_flapping", state, alarm=True)
    elif before.flapping and not state.flapping:
        _tell("site_steady", state, alarm=state.status is Status.DOWN)


def maintenance(state: SiteState) -> None:
    """Report that a site's maintenance has begun or ended."""
    if state.maintenance:
        _tell("maintenance_began", state, alarm=False)
    else:
        _tell("maintenance_ended", state, alarm=state.status is Status.DOWN)


def checked(result: Result) -> None:
    """Log one check at DEBUG level."""
    if not _log.isEnabledFor(logging.DEBUG):
        return
    verdict = result.analysis.verdict if result.analysis else None
    _log.debug(
        "checked",
        extra=fields(
            site=result.site,
            up=result.up,
            reason=verdict.reason if verdict else None,
            error=result.error,
            duration=round(result.observation.duration, 6),
        ),
    )


def check_failed(site: Site, error: BaseException) -> None:
    """Report a bug that spoilt a check, with its traceback."""
    _log.error("check_failed", exc_info=error, extra=fields(site=site.name))


def analysis_failed(error: BaseException) -> None:
    """Report a bug that spoilt a batch, with its traceback."""
    _log.error("analysis_failed", exc_info=error)


def restarted() -> None:
    """Report the bug that is being handled, which cost one step of the loop."""
    _log.exception("engine_restarted")


def connectivity_lost(targets: Iterable[Site], fault: Failure | BaseException | None) -> None:
    """Report that no target answers, with what was wrong with the last."""
    detail = fault.message if isinstance(fault, Failure) else str(fault)
    names = ",".join(target.target for target in targets)
    _log.warning("connectivity_lost", extra=fields(targets=names, detail=detail))


def connectivity_regained(unknown: int) -> None:
    """Report that a target answers again, and how many sites are checked again because of it."""
    _log.info("connectivity_regained", extra=fields(unknown=unknown))


def places(place: int, places: int) -> None:
    """Report over how many places the slots are spread."""
    _log.info("slots_spread", extra=fields(place=place + 1, places=places))


def location_silent(sender: Sender) -> None:
    """Report that a place has become silent."""
    _log.warning("location_silent", extra=fields(location=sender.location, part=sender.part))


def location_heard(sender: Sender) -> None:
    """Report that a place reports again, or for the first time."""
    _log.info("location_heard", extra=fields(location=sender.location, part=sender.part))


def location_list_differs(sender: Sender, theirs: str, ours: str) -> None:
    """Report that a place checks another list than the hub has."""
    _log.warning(
        "location_list_differs",
        extra=fields(location=sender.location, part=sender.part, theirs=theirs, ours=ours),
    )


def stopping(in_flight: int, grace: Seconds) -> None:
    """Report that no new check begins."""
    _log.info("stopping", extra=fields(in_flight=in_flight, grace=grace))


def _tell(event: str, state: SiteState, before: Status | None = None, *, alarm: bool) -> None:
    """
    Report a site's state in one line.

    Args:
        before: The confirmed state that ended, if one did.
        alarm: Whether somebody should look; during maintenance nobody needs to.
    """
    analysis = state.finished.analysis if state.finished else None
    verdict = analysis.verdict if analysis else None
    _log.log(
        logging.WARNING if alarm and not state.maintenance else logging.INFO,
        event,
        extra=fields(
            site=state.site.name,
            before=before,
            state=None if before else state.status,
            reason=verdict.reason if verdict else None,
            detail=(verdict.message or None) if verdict else None,
            flapping=state.flapping or None,
            maintenance=state.maintenance or None,
        ),
    )
