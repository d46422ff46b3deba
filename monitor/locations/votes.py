"""
Combines what each place says about a site into one verdict. Pure.

A place votes up or down with the state that it has confirmed itself. It has no vote while its last
report is stale, while it is silent, before it has confirmed a state, and while its own connection
is lost or its checks fail because of the monitor. Of the votes:

    enough are down      down, even if enough are up as well
    else enough are up   up
    neither              as before, and the site is split
    too few votes        unknown, whatever they say

Some examples with ``quorum: {down: 2, up: 2, minimum: 2}``, the site being up before:

    fra down, nyc down, sin up          down
    fra down, nyc up,   sin up          up
    fra down, nyc up,   sin stale       up as before, split
    fra down, nyc stale, sin stale      unknown: there is one vote, and at least two are needed

And the same site, being down before:

    fra down, nyc up, sin stale         down as before, split
    fra up,   nyc up, sin down          up
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from monitor.model import Joint, Seconds, Status, Timestamp, Vote
from monitor.places import Abstention, Ballot, Report, Sender

_WORDS = ("majority", "all", "any")
_FORM = re.compile(r"(?P<number>[1-9][0-9]{0,2})|(?P<percent>100|[1-9][0-9]?)%|majority|all|any")


@dataclass(frozen=True, slots=True)
class Enough:
    """
    How many votes are enough.

    Attributes:
        number: This many, whatever the number of voters; None if it depends on them.
        percent: This share of the voters, rounded up; None if it is a majority.
    """

    number: int | None = None
    percent: int | None = None

    def of(self, voters: int) -> int:
        """
        Return how many votes are enough among this many voters; at least 1.

        Examples for 4 voters: ``2`` → 2, majority → 3, all → 4, any → 1, ``60%`` → 3.
        """
        if self.number is not None:
            return self.number
        if self.percent is None:
            return voters // 2 + 1
        return max(1, -(-voters * self.percent // 100))


def parse_enough(text: str) -> Enough:
    """
    Return the meaning of ``2``, ``majority``, ``all``, ``any`` or ``60%``.

    Raises:
        ValueError: The text has another form.
    """
    form = _FORM.fullmatch(text)
    if form is None:
        raise ValueError(
            f"{text!r} is not a number of votes; write a number such as 2, a share such as 60%, or"
            f" {', '.join(_WORDS[:-1])} or {_WORDS[-1]}"
        )
    if form["number"]:
        return Enough(number=int(form["number"]))
    if form["percent"]:
        return Enough(percent=int(form["percent"]))
    return {"majority": Enough(), "all": Enough(percent=100), "any": Enough(number=1)}[text]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quorum:
    """
    How votes become a verdict.

    Attributes:
        minimum: Votes needed for any verdict; with fewer the site is unknown.
        stale: After how many missed intervals a place has no vote.
    """

    down: Enough = Enough()
    up: Enough = Enough()
    minimum: int = 1
    stale: int = 3

    def stale_after(self, interval: Seconds, timeout: Seconds) -> Seconds:
        """
        Return how old a report may be: the missed intervals, plus the time of the check itself.

        With ``stale: 3``, an interval of 60 s and a timeout of 10 s: 190 s.
        """
        return self.stale * interval + timeout


def take(report: Report, sender: Sender, skew: Seconds, known: Ballot | None) -> Ballot | None:
    """
    Return what a place now says about a site; None if that was applied before.

    Args:
        skew: How far the place's clock is ahead of ours.
        known: What the place said before.
    """
    time = report.time - skew
    if known is not None and time <= known.time:
        return None
    return Ballot(
        sender=sender,
        time=time,
        status=report.status,
        since=report.since - skew,
        first=None if report.first is None else report.first - skew,
        reason=report.reason,
        message=report.message,
        trouble=report.trouble,
    )


def count(
    ballots: Mapping[str, Ballot],
    quorum: Quorum,
    before: Status,
    now: Timestamp,
    stale_after: Seconds,
    silent: Collection[Sender] = (),
) -> Joint:
    """
    Return the verdict of the places on one site.

    Args:
        ballots: By location.
        before: The verdict until now.
        silent: Daemons that have been silent for too long.
    """
    votes: list[Vote] = []
    failing: list[Timestamp] = []
    ups = 0
    expires: Timestamp | None = None
    for location in sorted(ballots):
        ballot = ballots[location]
        why_not = _why_not(ballot, now, stale_after, silent)
        votes.append(
            Vote(
                location=location,
                state=ballot.status,
                since=ballot.since,
                reason=ballot.reason if ballot.status is Status.DOWN else None,
                message=ballot.message,
                counted=not why_not,
                why_not=why_not,
            )
        )
        if why_not:
            continue
        end = ballot.time + stale_after
        expires = end if expires is None else min(expires, end)
        if ballot.status is Status.UP:
            ups += 1
        else:
            failing.append(ballot.since if ballot.first is None else ballot.first)
    status, split = _verdict(len(failing), ups, quorum, before)
    first = None
    if status is Status.DOWN and (enough := quorum.down.of(len(failing) + ups)) <= len(failing):
        first = sorted(failing)[enough - 1]
    return Joint(status=status, split=split, votes=tuple(votes), first=first, expires=expires)


def _verdict(downs: int, ups: int, quorum: Quorum, before: Status) -> tuple[Status | None, bool]:
    voters = downs + ups
    if voters < max(1, quorum.minimum):
        return None, False
    if downs >= quorum.down.of(voters):
        return Status.DOWN, False
    if ups >= quorum.up.of(voters):
        return Status.UP, False
    return before, True


def _why_not(
    ballot: Ballot, now: Timestamp, stale_after: Seconds, silent: Collection[Sender]
) -> str:
    """Return why a place has no vote on a site; empty if it has one."""
    if now - ballot.time > stale_after:
        return "its last report is too old"
    if ballot.sender in silent:
        return "nothing is heard from it"
    if ballot.trouble is Abstention.CONNECTION:
        return "its own connection is lost"
    if ballot.trouble is Abstention.ERROR:
        return f"it could not check: {ballot.message}" if ballot.message else "it could not check"
    if ballot.status is Status.UNKNOWN:
        return "it has not settled a state yet"
    return ""
