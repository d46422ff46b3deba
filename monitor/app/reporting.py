"""Sites that report themselves: who may call, and what they said before the start."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from monitor.app.sharding import Shard
from monitor.mailbox import Call, Mailbox, Reporter
from monitor.model import PushAnswer, Reason, Site
from monitor.past import Remembered
from monitor.probes.push import PushOptions
from monitor.protocols.table import SCHEMES

Recall: TypeAlias = Callable[[Sequence[Site]], Mapping[str, Remembered]]


class Reporters:
    """
    Returns who may call; the same object until the list of sites changes.

    The mutable state is the last returned value; only the web thread calls.
    """

    def __init__(self, sites: Callable[[], Sequence[Site]], shard: Shard) -> None:
        self._sites = sites
        self._shard = shard
        self._of: Sequence[Site] | None = None
        self._reporters: tuple[Reporter, ...] = ()

    def __call__(self) -> Sequence[Reporter]:
        sites = self._sites()
        if sites is not self._of:
            self._of = sites
            self._reporters = tuple(map(self._reporter, filter(_reports_itself, sites)))
        return self._reporters

    def _reporter(self, site: Site) -> Reporter:
        number = self._shard.owner(site.name)
        return Reporter(
            name=site.name,
            group=site.group,
            token=site.section(PushOptions).token,
            elsewhere=None
            if number == self._shard.number
            else f"shard {number}/{self._shard.total}",
        )


def recalled(recall: Recall, mailbox: Mailbox) -> Recall:
    """Return this function, extended to recall the last calls of sites that report themselves."""

    def recall_calls(sites: Sequence[Site]) -> Mapping[str, Remembered]:
        found = recall(sites)
        for site in filter(_reports_itself, sites):
            call = _last_call(found[site.name]) if site.name in found else None
            if call is not None:
                mailbox.recall(site.name, call)
        return found

    return recall_calls


def _last_call(known: Remembered) -> Call | None:
    """
    Return what a site said last; None if that is not known.

    A site that was overdue said nothing, and stays overdue until it calls.
    """
    last = known.recent[0] if known.recent else None
    if known.said and last is not None:
        return Call(time=last.time, up=True, run_time=last.duration or None)
    failed = known.failures[0] if known.said is False and known.failures else None
    if failed is None or failed.analysis is None:
        return None
    answer = failed.observation.answer
    if failed.analysis.verdict.reason is not Reason.REPORTED or not isinstance(answer, PushAnswer):
        return None
    return Call(
        time=answer.called,
        up=False,
        message=answer.message,
        exit_status=answer.exit_status,
        run_time=failed.observation.duration or None,
    )


def _reports_itself(site: Site) -> bool:
    return SCHEMES[site.scheme].reports_itself
