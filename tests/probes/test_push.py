"""When sites that report themselves are up, overdue or failed; clock and mailbox by hand."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from monitor.app.tables import TABLES
from monitor.clock import Deadline
from monitor.config.load import load_text
from monitor.errors import ConfigError, NothingYetError
from monitor.mailbox import Call, Mailbox
from monitor.model import Observation, Reason
from monitor.probes.push import PushOptions, PushProbe
from tests.fakes import FakeClock
from tests.narrowing import known

TOKEN = "a-token-of-a-job"


class Job:
    """A site that reports itself, with the monitor's looks at it."""

    def __init__(self, push: str = "every: 60s, grace: 10s", interval: str = "30s") -> None:
        text = f"sites: [{{url: push:job, interval: {interval}, push: {{token: {TOKEN}, {push}}}}}]"
        (self.site,) = load_text(text, TABLES, {}).sites
        self.clock = FakeClock()
        self.mailbox = Mailbox()
        self._probe = PushProbe(self.mailbox)

    def call(self, *, up: bool = True, **said) -> None:
        assert self.mailbox.put("job", Call(time=self.clock.time(), up=up, **said))

    def look(self) -> Observation | None:
        """Return the result of a look, or None if there is nothing to report."""
        try:
            return self._probe(self.site, Deadline.after(1.0, self.clock))
        except NothingYetError:
            return None

    def look_after(self, seconds: float) -> Observation | None:
        """Look every 10 seconds for this many seconds, and return the result of the last look."""
        seen = None
        for _ in range(int(seconds / 10)):
            self.clock.advance(10.0)
            seen = self.look()
        return seen


def reason(seen: Observation | None) -> Reason | None:
    assert seen is not None
    return seen.failure.reason if seen.failure else None


def test_a_site_that_calls_in_time_is_up():
    """A site is up for every plus grace after a call, and looks in between repeat the result."""
    job = Job()
    assert job.look() is None
    job.call(run_time=2.5)
    seen = job.look()
    assert reason(seen) is None
    assert known(seen).duration == 2.5
    assert reason(job.look_after(60)) is None
    overdue = job.look_after(10)
    assert reason(overdue) is Reason.OVERDUE
    assert known(known(overdue).failure).message == "no call for 70s, and one is expected every 1m"
    job.call()
    assert reason(job.look()) is None


def test_a_site_that_never_calls_is_overdue():
    """A site that has never called has the same time, counted from the first look."""
    job = Job()
    job.look()
    assert job.look_after(60) is None
    assert reason(job.look_after(10)) is Reason.OVERDUE


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"exit_status": 3}, "the job reported: exit status 3"),
        ({"message": "disk full"}, "the job reported: disk full"),
        ({}, "the job reported: it failed"),
    ],
)
def test_a_failure_lasts_until_a_success(said, message):
    """A failure remains through any number of looks, even once the next call is overdue."""
    job = Job()
    job.call(up=False, **said)
    assert known(known(job.look()).failure).message == message
    assert known(known(job.look_after(200)).failure).message == message
    job.call()
    assert reason(job.look()) is None


def test_every_call_is_seen_once_and_in_order():
    """A failure between two successes is reported, however quickly they follow."""
    job = Job()
    for up in (True, False, True):
        job.call(up=up)
    assert [reason(job.look()) for _ in range(3)] == [None, Reason.REPORTED, None]


def test_nobody_is_late_who_could_not_have_called():
    """After a pause of the monitor or a clock change, the time to call starts again."""
    job = Job()
    job.call()
    job.look()
    job.clock.advance(3600.0)  # no look for an hour
    assert reason(job.look()) is None
    assert reason(job.look_after(60)) is None
    job.clock.set_back(7200.0)
    assert reason(job.look()) is None
    assert reason(job.look_after(60)) is None
    assert reason(job.look_after(10)) is Reason.OVERDUE


def test_run_time_is_from_the_start_to_the_end_of_a_run():
    """Run numbers tell overlapping runs apart; without a start, a run has no duration."""
    job = Job()
    for run, begin in (("a", 0.0), ("b", 5.0)):
        job.mailbox.start("job", run, begin)
    for run, end in (("b", 7.0), ("a", 9.0), ("", 9.5)):
        job.mailbox.put("job", Call(time=end, up=True), run)
    assert [known(job.look()).duration for _ in range(3)] == [2.0, 9.0, 0.0]


def test_what_waits_is_bounded():
    """A mailbox that is full refuses more calls from its site, and keeps those that wait."""
    mailbox = Mailbox()
    taken = [mailbox.put("job", Call(time=0.0, up=True)) for _ in range(102)]
    assert taken == [True] * 100 + [False] * 2
    for run in range(1000):
        mailbox.start("job", str(run), 0.0)
    assert mailbox.put("other", Call(time=0.0, up=True))


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("cron", "called", "due"),
    [
        ("0 3 * * *", "2026-11-28T03:00:07", "2026-11-29T03:00:00"),
        ("0 3 * * *", "2026-11-28T02:59:58", "2026-11-29T03:00:00"),  # its clock is ahead of ours
        ("*/15 * * * *", "2026-11-28T03:01:00", "2026-11-28T03:15:00"),
        ("30 2 * * *", "2027-03-27T02:30:05", "2027-03-28T03:00:00"),  # there is no 02:30 that day
        ("0 4 * * 1", "2026-11-28T04:00:00", "2026-11-30T04:00:00"),
    ],
)
def test_when_a_call_is_due_by_cron(cron, called, due):
    """The due time follows the configured time zone, summer time included."""
    options = PushOptions(token=TOKEN, cron=cron, timezone=BERLIN)

    def moment(text: str) -> float:
        return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()

    assert options.due(moment(called)) == moment(due)


@pytest.mark.parametrize(
    ("site", "problem"),
    [
        (
            '{url: "PUSH:///", push: {token: a-token-of-a-job, every: 5m}}',
            "1:15: sites[0].url: names no job; write push: and a name, such as push:nightly-backup",
        ),
        (
            '{url: "push:", push: {token: a-token-of-a-job, every: 5m}}',
            "1:15: sites[0].url: names no job; write push: and a name, such as push:nightly-backup",
        ),
        (
            "{url: push:a, push: a-token-of-a-job}",
            "1:29: sites[0].push: must be a mapping, not text",
        ),
        (
            "{url: push:a, push: {token: a-token-of-a-job}}",
            "1:29: sites[0].push: say either every, such as 5m, or cron, such as '0 3 * * *'",
        ),
        (
            "{url: push:a, push: {token: short, every: 5m}}",
            (
                "1:37: sites[0].push: token must be at least 16 of letters, digits and -._~, with"
                " at most one slash among them; `openssl rand -hex 16` prints one"
            ),
        ),
        (
            "{url: push:a, push: {token: a-token-of-a-job, cron: 0 25 * * *}}",
            "1:61: sites[0].push.cron: '0 25 * * *' is not a cron expression: Bad hour",
        ),
        (
            "{url: push:a, push: {token: a-token-of-a-job, cron: daily}}",
            (
                "1:61: sites[0].push.cron: 'daily' is not a cron expression of five fields such as"
                " '0 3 * * *'"
            ),
        ),
        (
            "{url: push:a, push: {token: a-token-of-a-job, cron: 0 0 31 2 *}}",
            "1:61: sites[0].push.cron: '0 0 31 2 *' is not a cron expression: Bad day-of-month",
        ),
        (
            (
                "{url: push:a, push: {token: a-token-of-a-job, every: 5m}},"
                " {url: push:b, push: {token: a-token-of-a-job, every: 5m}}"
            ),
            "1:74: sites[1].push.token: is that of 'a' too; give each site another",
        ),
        (
            "{url: push:a, http: {}}",
            "1:23: sites[0].http: does not belong to push sites",
        ),
    ],
)
def test_mistakes_are_told_with_their_place(site, problem):
    """Each mistake is one sentence, and the token is not quoted."""
    with pytest.raises(ConfigError) as raised:
        load_text(f"sites: [{site}]", TABLES, {})
    found = [str(one).removeprefix("text:") for one in raised.value.problems]
    assert any(one.startswith(problem) for one in found), found


@pytest.mark.parametrize("written", ["push:nightly run", "push://nightly run", "Push:/nightly run"])
def test_an_address_is_the_scheme_and_a_name(written):
    """Slashes between the scheme and the name are ignored, because nothing connects there."""
    text = f"sites: [{{url: '{written}', push: {{token: a-token-of-a-job, every: 5m}}}}]"
    (site,) = load_text(text, TABLES, {}).sites
    assert (site.url, site.target, site.name) == (
        "push:nightly run",
        "push:nightly run",
        "nightly run",
    )
