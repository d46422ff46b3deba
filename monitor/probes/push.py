"""
The probe of sites that report themselves: it contacts nobody, and looks at their last call.

A site is up while it calls in time and its last call said that all went well. The last call
determines when the next one is due: ``every`` later, or at the next moment of a cron expression.
After that, the site has ``grace``, and is then overdue.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from cronsim import CronSim, CronSimError

from monitor.clock import Deadline
from monitor.errors import NothingYetError
from monitor.mailbox import Call, Mailbox, Word
from monitor.model import Failure, Observation, PushAnswer, Reason, Site
from monitor.options import Duration, Parsed, Secret, Zone, duration, option, show_duration
from monitor.units import Seconds, Timestamp

_SHORTEST_TOKEN = 16
_TOKEN_MARKS = frozenset("-._~/")
_MOST_TOKEN_PARTS = 2
_SHORTEST_PERIOD: Seconds = 1.0
_CRON_FIELDS = 5
_SKEW: Seconds = 5.0
"""How far a job's clock may be ahead of ours: a call just before a moment counts for it."""
_MOST_MISSED_LOOKS = 3
_STANDSTILL: Seconds = 10.0


def _cron(value: Any) -> str:
    if not isinstance(value, str) or len(value.split()) != _CRON_FIELDS:
        raise ValueError(f"{value!r} is not a cron expression of five fields such as '0 3 * * *'")
    try:
        next(CronSim(value, datetime.now(UTC)))
    except (CronSimError, StopIteration) as error:
        why = str(error) or "it names no moment at all"
        raise ValueError(f"{value!r} is not a cron expression: {why}") from None
    return value


Cron = Annotated[str, Parsed(_cron, {"type": "string"})]


@dataclass(frozen=True, slots=True, kw_only=True)
class PushOptions:
    token: Secret = option(
        doc="The secret end of the address to call, /push/TOKEN: at least 16 letters, digits and"
        " -._~, and at most one slash, such as what `openssl rand -hex 16` prints."
    )
    every: Annotated[Seconds, duration(_SHORTEST_PERIOD)] | None = option(
        None, doc="The longest time from one call to the next."
    )
    cron: Cron | None = option(
        None, doc="When calls are due, as a cron expression of five fields; instead of every."
    )
    timezone: Zone | None = option(
        None, doc="Time zone of cron, such as Europe/Berlin; by default UTC."
    )
    grace: Duration = option(60.0, doc="How late a call may be.")

    def __post_init__(self) -> None:
        if (self.every is None) == (self.cron is None):
            raise ValueError("say either every, such as 5m, or cron, such as '0 3 * * *'")
        if self.timezone is not None and self.cron is None:
            raise ValueError("timezone goes with cron; every counts from one call to the next")
        if not _is_token(self.token):
            raise ValueError(
                f"token must be at least {_SHORTEST_TOKEN} of letters, digits and -._~, with at"
                " most one slash among them; `openssl rand -hex 16` prints one"
            )

    def due(self, since: Timestamp) -> Timestamp:
        """Return when the call after one at *since* is due, grace not included."""
        if self.every is not None:
            return since + self.every
        assert self.cron is not None  # noqa: S101  one of the two is given
        last = datetime.fromtimestamp(since + _SKEW, self.timezone or UTC)
        return next(CronSim(self.cron, last)).timestamp()


def _is_token(token: str) -> bool:
    allowed = all(char.isascii() and (char.isalnum() or char in _TOKEN_MARKS) for char in token)
    parts = token.split("/")
    return (
        allowed and len(token) >= _SHORTEST_TOKEN and len(parts) <= _MOST_TOKEN_PARTS and all(parts)
    )


def check_url(url: str) -> None:
    """
    Accept ``push:NAME``.

    Raises:
        ValueError: There is no name.
    """
    if not url.partition(":")[2].strip("/"):
        raise ValueError("names no job; write push: and a name, such as push:nightly-backup")


def own_token(site: Site) -> tuple[tuple[str, ...], str]:
    """Return the token that identifies a site's calls, and its key."""
    return ("push", "token"), site.section(PushOptions).token


class PushProbe:
    """
    Looks at a site's last call; one object for all threads.

    Args:
        mailbox: Where calls arrive.
    """

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def __call__(self, site: Site, deadline: Deadline) -> Observation:
        """
        Return how the site is, according to its last call.

        Raises:
            NothingYetError: It has not called yet, and still has time.
        """
        options = site.section(PushOptions)
        now = deadline.clock.time()
        patience = site.interval * _MOST_MISSED_LOOKS + _STANDSTILL
        word = self._mailbox.look(site.name, now, patience)
        last = word.last
        if last is not None and not last.up:
            return _reported(last, last.time if word.fresh else now)
        if not word.fresh:
            due = options.due(word.since)
            if now >= due + options.grace:
                return Observation(
                    time=now,
                    duration=0.0,
                    failure=Failure(Reason.OVERDUE, _overdue(word, options, now)),
                )
        if last is None:
            raise NothingYetError("the site has not called yet")
        return _reported(last, last.time if word.fresh else now)


def _reported(call: Call, time: Timestamp) -> Observation:
    failure = None
    if not call.up:
        said = call.message or (
            "it failed" if call.exit_status is None else f"exit status {call.exit_status}"
        )
        failure = Failure(Reason.REPORTED, f"the job reported: {said}")
    return Observation(
        time=time,
        duration=call.run_time or 0.0,
        failure=failure,
        answer=PushAnswer(
            called=call.time,
            message=call.message,
            exit_status=call.exit_status,
            body=call.body,
        ),
    )


def _overdue(word: Word, options: PushOptions, now: Timestamp) -> str:
    if options.every is not None:
        wanted = f"every {show_duration(options.every)}"
    else:
        wanted = f"by {options.cron!r} in {options.timezone or 'UTC'}"
    return f"no call for {show_duration(round(now - word.since))}, and one is expected {wanted}"
