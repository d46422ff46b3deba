"""The engine's loop, turned by hand: which checks begin when, and how they end."""

import logging
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.engine.events import (
    CheckRequested,
    NewsOf,
    Pinged,
    ProbeFinished,
    SitesChanged,
    StopRequested,
)
from monitor.engine.pools import Batch, Judged
from monitor.engine.threads import Visit
from monitor.errors import NothingYetError, ProbeError
from monitor.model import (
    UP,
    Analysis,
    Confirm,
    Content,
    Reason,
    Result,
    SingleWindow,
    Site,
    SiteChange,
    Status,
    TlsSession,
    Verdict,
)
from monitor.past import Remembered
from tests.builders import answered, down_result, hung, refused, site, untrusted
from tests.engine.turned import BOUNDS, TurnedEngine


@pytest.fixture
def rig():
    return TurnedEngine()


def test_a_check_goes_all_the_way(rig):
    """In one interval one check becomes due, is probed, judged and published."""
    rig.list(site())
    assert rig.state().status is Status.UNKNOWN
    rig.advance(10.0)
    (listed,) = rig.probes.take()
    rig.finish(listed, answered(time=5.0))
    rig.judge()
    assert rig.state().status is Status.UP
    assert rig.state().counters.checks == 1


def test_a_batch_is_recorded_in_small_pieces():
    """Many results are recorded a few at a time, with a pause for the threads in between."""
    rig = TurnedEngine(threads=40)
    rig.list(*(site(f"{number}", interval=1000.0) for number in range(40)))
    rig.advance(60.0)
    for listed in rig.probes.take():
        rig.finish(listed, answered())
    rig.judge()
    recorded = []
    for _ in range(3):
        recorded.append(sum(one.status is Status.UP for one in rig.listener.published.values()))
        assert rig.engine.wait_time() > 0
        rig.engine.start_due_checks()
    assert recorded == [16, 32, 40]


def test_a_failure_without_an_answer_is_judged_at_once(rig):
    """If there is nothing to analyse, nothing goes to a worker."""
    rig.list(site())
    rig.advance(10.0)
    rig.finish(rig.probes.take()[0], refused())
    assert rig.state().status is Status.DOWN
    assert rig.state().last.analysis.verdict.reason is Reason.CONNECT_REFUSED
    assert rig.analysis.batches == []


def test_the_loop_sleeps_until_the_next_slot(rig):
    """Events shortly before the next look do not wake the loop, and are handled with it."""
    rig.list(site(interval=10.0))
    until = rig.engine.wait_time()
    rig.clock.advance(until - 0.09)
    reply: Future[None] = Future()
    rig.inbox.put(Pinged(reply))
    before = rig.clock.now
    rig.engine.turn()
    assert rig.clock.now == pytest.approx(before + 0.09)
    assert reply.done()


def near_slot(rig: TurnedEngine, interval: float = 10.0) -> float:
    """List a site and return its slot once it is near."""
    rig.list(site(interval=interval))
    rig.clock.advance(rig.engine.wait_time())
    rig.engine.start_due_checks()
    (moment,) = rig.probes.moments
    assert rig.clock.now < moment < rig.clock.now + 0.1
    return moment


def test_a_check_is_handed_out_before_its_slot(rig):
    """Its thread waits for the slot by itself, so that nothing has to wake it."""
    slot = near_slot(rig)
    (listed,) = rig.probes.take()
    rig.finish(listed, refused(), began=slot + 0.002)
    assert rig.listener.lags == [pytest.approx(0.002)]
    assert rig.engine.wait_time() > 9.0


@pytest.mark.parametrize(("rate", "ahead"), [(50, 0.1), (500, 0.08), (2000, 0.05)])
def test_threads_wait_for_no_more_than_a_few_slots_each(rate, ahead):
    """The more checks a second there are, the closer to their slots threads get them."""
    rig = TurnedEngine(threads=500)
    rig.list(*(site(f"{number}", interval=10.0) for number in range(rate * 10)))
    for _ in range(10):  # each turn hands out only some
        rig.engine.start_due_checks()
    assert ahead / 2 < max(rig.probes.moments) - rig.clock.now <= ahead
    assert rig.engine.wait_time() == pytest.approx(ahead / 2, abs=ahead / 4)


def test_a_check_that_ends_just_before_the_next_slot_costs_none(rig):
    """The engine asks at the slot, not shortly before it, whether the last check has ended."""
    near_slot(rig, interval=1.0)
    (listed,) = rig.probes.take()
    rig.clock.advance(0.98)
    rig.engine.start_due_checks()
    assert rig.engine.wait_time() < 0.1
    rig.finish(listed, refused())
    rig.clock.advance(rig.engine.wait_time())
    rig.engine.start_due_checks()
    assert len(rig.probes.take()) == 1
    assert rig.state().counters.skipped == {}


def test_a_check_that_goes_on_at_the_next_slot_costs_it(rig):
    """A slot that was near while the last check still ran is skipped once it has come."""
    near_slot(rig, interval=1.0)
    rig.clock.advance(0.98)
    rig.engine.start_due_checks()
    assert rig.state().counters.skipped == {}
    rig.clock.advance(0.1)
    rig.engine.start_due_checks()
    assert rig.state().counters.skipped == {"overrun": 1}


@pytest.mark.parametrize(
    ("happens", "checked"),
    [
        (lambda rig: rig.change(removed=("shop",)), []),
        (lambda rig: rig.engine.handle(StopRequested(grace=1.0)), []),
        (lambda rig: rig.change(changed=(site(timeout=7.0),)), [site(timeout=7.0)]),
    ],
    ids=["site removed", "stop", "site changed"],
)
def test_what_has_not_begun_is_called_off(rig, happens, checked):
    """A check that waits for its slot is not begun if its site has left or changed."""
    near_slot(rig)
    happens(rig)
    assert rig.probes.submitted == []
    assert rig.probes.busy == 0
    rig.advance(1.0)
    assert rig.probes.take() == checked
    assert all(not state.counters.skipped for state in rig.listener.published.values())


def test_a_slot_near_goes_with_its_site(rig):
    """A site that leaves during a check, with its next slot near, leaves nothing behind."""
    near_slot(rig, interval=1.0)
    rig.clock.advance(0.98)
    rig.engine.start_due_checks()
    rig.change(removed=("shop",))
    rig.advance(1.0)
    assert rig.listener.restarts == 0


def test_the_loop_does_not_sleep_while_somebody_waits():
    """A check that waits for a thread begins when one is free, not at the next slot."""
    rig = TurnedEngine(threads=1)
    rig.list(site("a", interval=10.0), site("b", interval=10.0))
    rig.advance(10.0)
    (first,) = rig.probes.take()
    rig.clock.advance(rig.engine.wait_time() - 0.01)
    rig.inbox.put(ProbeFinished(first, refused(), rig.clock.now))
    before = rig.clock.now
    rig.engine.turn()
    assert rig.clock.now - before < 0.001
    rig.engine.start_due_checks()
    assert len(rig.probes.take()) == 1


def test_under_pressure_a_check_begins_where_one_ended(rig):
    """No more threads join those that queue for the interpreter, or all sites would look slow."""
    rig.list(*(site(f"{number}", interval=10.0) for number in range(6)))
    rig.clock.overslept = 0.02
    rig.clock.advance(10.0)
    rig.engine.start_due_checks()
    assert rig.probes.take() == []
    rig.clock.overslept = 0.0
    rig.engine.start_due_checks()
    assert len(rig.probes.take()) == 6


def test_a_short_interval_does_not_wait_for_company(rig):
    """An answer reaches its worker within a twentieth of its site's interval."""
    rig.list(site(interval=1.0))
    rig.advance(1.0)
    rig.finish(rig.probes.take()[0], answered())
    rig.clock.advance(0.05)
    rig.engine.start_due_checks()
    assert len(rig.analysis.batches) == 1


def test_what_is_judged_at_once_goes_to_no_worker():
    """It is recorded with the next turn of the loop; other answers wait for a worker."""
    rig = TurnedEngine(
        judge_at_once=lambda job, _: Analysis(verdict=UP) if job.site == "shop" else None
    )
    rig.list(site(), site("bank"))
    rig.advance(10.0)
    for listed in rig.probes.take():
        rig.finish(listed, answered())
    rig.engine.start_due_checks()
    assert rig.state("shop").status is Status.UP
    assert rig.state("bank").status is Status.UNKNOWN
    rig.clock.advance(0.5)
    rig.engine.start_due_checks()
    assert [job.site for batch in rig.analysis.batches for job in batch.jobs] == ["bank"]


def test_certificates_that_are_as_before_go_to_no_worker():
    """A worker reads the first handshake; its findings serve for the next equal ones."""
    rig = TurnedEngine(judge_at_once=lambda _, certificates: certificates)
    rig.list(site())
    shown, renewed = (
        replace(answered(), tls=TlsSession(chain=(chain,), verified=None))
        for chain in ("PEM", "NEW")
    )
    for handshake, batches in ((shown, 1), (shown, 0), (renewed, 1)):
        rig.advance(10.0)
        rig.finish(rig.probes.take()[0], handshake)
        rig.clock.advance(0.5)
        rig.engine.start_due_checks()
        assert len(rig.analysis.batches) == batches
        rig.judge(validity=(1.0, 2.0))
        last = rig.state("shop").last
        assert last.analysis == Analysis(verdict=UP, validity=(1.0, 2.0))


def test_a_failure_with_a_certificate_is_analysed(rig):
    """A worker decodes the chain of a handshake that failed."""
    rig.list(site())
    rig.advance(10.0)
    rig.finish(rig.probes.take()[0], untrusted())
    rig.clock.advance(0.5)
    rig.engine.start_due_checks()
    assert len(rig.analysis.batches) == 1


def test_never_two_checks_of_one_site(rig):
    """A slot that comes while the site's last check still runs is skipped and counted."""
    rig.list(site())
    rig.advance(35.0)
    assert len(rig.probes.take()) == 1
    assert rig.state().counters.skipped == {"overrun": 3}


def test_no_thread_is_a_cause_of_its_own():
    """A site that waited a whole interval for a thread has missed a slot, and is still checked."""
    rig = TurnedEngine(threads=1)
    rig.list(site("a", interval=1000.0), site("b"))
    rig.advance(60.0)
    first = rig.probes.take()[0]
    rig.advance(1000.0)
    skipped = rig.state("a" if first.name == "b" else "b").counters.skipped
    assert set(skipped) == {"no_thread"}
    rig.finish(first, refused())
    rig.engine.start_due_checks()
    assert [one.name for one in rig.probes.take()] != [first.name]


def test_threads_are_never_overbooked():
    """No more checks run than there are threads."""
    rig = TurnedEngine(threads=3)
    rig.list(*(site(f"site-{number}") for number in range(20)))
    rig.advance(10.0)
    assert len(rig.probes.submitted) == 3


def test_a_mass_outage_leaves_half_of_the_threads():
    """Sites that hang until their timeouts hold at most half of the threads; others go ahead."""
    rig = TurnedEngine(threads=8)
    sick = [site(f"sick-{number}") for number in range(20)]
    rig.list(*sick)
    for _ in range(3):
        rig.advance(10.0)
        for listed in rig.probes.take():
            rig.finish(listed, hung())
            rig.engine.start_due_checks()
    rig.probes.take()
    rig.list(*(site(f"well-{number}", interval=5.0) for number in range(20)))
    rig.advance(30.0)
    held = [listed.name for listed in rig.probes.take()]
    sick_held = [name for name in held if name.startswith("sick")]
    assert len(sick_held) <= 8
    assert any(name.startswith("well") for name in held)
    assert 0 < rig.engine.load().slow <= 4
    assert rig.engine.load().waiting_slow > 0


def test_a_failure_that_awaits_confirmation_is_checked_again_soon(rig):
    """With failures: 2 the second check comes after retry_interval, not after the interval."""
    confirm = Confirm(failures=2, retry_interval=1.0)
    rig.list(site(interval=1000.0, confirm=confirm))
    rig.advance(60.0)
    rig.finish(rig.probes.take()[0], refused())
    assert rig.state().status is Status.UNKNOWN
    rig.advance(1.2)
    rig.finish(rig.probes.take()[0], refused())
    assert rig.state().status is Status.DOWN
    rig.advance(5.0)
    assert rig.probes.take() == []


def test_a_fault_of_ours_is_an_error_and_is_repeated(rig, caplog):
    """The site is not down because of it, and is checked again soon."""
    rig.list(site(interval=1000.0, confirm=Confirm(retry_interval=1.0)))
    rig.advance(60.0)
    rig.finish(rig.probes.take()[0], ProbeError("no file descriptor is left"))
    state = rig.state()
    assert (state.shown, state.counters.errors, state.counters.checks) == (Status.UNKNOWN, 1, 0)
    assert state.last.error == "no file descriptor is left"
    rig.advance(1.2)
    assert len(rig.probes.take()) == 1
    assert caplog.records == []


def test_a_bug_in_a_probe_is_logged_with_its_traceback(rig, caplog):
    """It counts as an error, and its message refers to the log."""
    rig.list(site())
    rig.advance(10.0)
    rig.finish(rig.probes.take()[0], KeyError("oops"))
    assert rig.state().counters.errors == 1
    assert "internal error (KeyError)" in rig.state().last.error
    assert caplog.records[0].exc_info[1].args == ("oops",)
    rig.advance(10.0)
    rig.finish(rig.probes.take()[0], KeyError("oops"))
    assert rig.state().counters.errors == 2
    assert len(caplog.records) == 1  # the same bug again logs nothing new


def test_secrets_are_masked_in_what_is_kept(rig):
    """No message, header or excerpt of a result holds a secret of the site."""
    rig.list(site(secrets=("hunter22",)))
    rig.advance(10.0)
    headers = (("X-Echo", "hunter22"), ("Set-Cookie", "session=abc; path=/"))
    rig.finish(rig.probes.take()[0], answered(body=b"you said hunter22", headers=headers))
    rig.judge(Verdict(up=False, reason=Reason.BODY, message="the body contains hunter22"))
    shown = repr(rig.state().last)
    assert "hunter22" not in shown
    assert "abc" not in shown
    assert "you said <secret>" in shown


def test_the_judge_knows_the_secrets_of_a_check(rig):
    """A secret that only the probe knew is masked in messages, and does not stay with the site."""
    rig.list(site(secrets=("hunter22",)))
    known = []
    for secrets in (("t0ken-1", "t0"), ()):
        rig.advance(10.0)
        rig.finish(rig.probes.take()[0], replace(answered(), secrets=secrets))
        rig.clock.advance(0.5)
        rig.engine.start_due_checks()
        ((job,),) = [batch.jobs for batch in rig.analysis.batches]
        known.append(job.secrets)
        rig.judge()
    assert known == [("hunter22", "t0ken-1", "t0"), ("hunter22",)]


def test_a_site_that_did_not_change_goes_on(rig):
    """A reload that changes another site leaves its counters, state and running check alone."""
    rig.list(site("a"), site("b"))
    rig.advance(10.0)
    listed = {one.name: one for one in rig.probes.take()}
    rig.change(changed=(site("b", interval=20.0),), added=(site("c"),))
    rig.finish(listed["a"], refused())
    rig.finish(listed["b"], refused())
    assert rig.state("a").counters.checks == 1
    assert rig.state("b").counters.checks == 0  # that result was another site's
    assert rig.listener.site_count == 3


def test_watched_content_is_compared_with_the_one_before(rig):
    """A job carries what was seen last; a reload that watches another part forgets it."""
    listed = site(watch="body", extract="values")
    rig.list(listed)
    references = []
    for number in range(3):
        rig.advance(10.0)
        rig.finish(rig.probes.take()[0], answered())
        rig.clock.advance(0.5)
        rig.engine.start_due_checks()
        ((job,),) = [batch.jobs for batch in rig.analysis.batches]
        assert (job.watch, job.extract) == (listed.watch, "values")
        references.append(job.reference)
        rig.judge(content=Content(sha256=f"hash-{number}"))
        if number == 1:
            listed = replace(listed, watch="another part")
            rig.change(changed=(listed,))
    assert references == [None, "hash-0", None]
    assert rig.state().content == "hash-2"


def test_a_removed_site_takes_everything_with_it(rig):
    """A result that comes in after its site left is dropped."""
    rig.list(site())
    rig.advance(10.0)
    (listed,) = rig.probes.take()
    rig.change(removed=("shop",))
    rig.finish(listed, refused())
    assert rig.listener.published == {}
    assert rig.probes.busy == 0


def test_a_site_that_returns_waits_for_its_old_check(rig):
    """If it is removed and added again while its check runs, no second check begins beside it."""
    rig.list(site())
    rig.advance(10.0)
    (old,) = rig.probes.take()
    rig.change(removed=("shop",))
    rig.list(site())
    rig.advance(10.0)
    assert rig.probes.take() == []
    rig.finish(old, refused())
    rig.advance(10.0)
    assert len(rig.probes.take()) == 1


def test_a_jammed_pool_starts_no_check(rig):
    """While too much waits to be judged, nothing new is probed, and that is counted."""
    rig.analysis.jammed = True
    rig.list(site())
    rig.advance(30.0)
    assert rig.probes.submitted == []
    assert set(rig.state().counters.skipped) == {"analysis_backlog"}
    rig.analysis.jammed = False
    rig.engine.start_due_checks()
    assert len(rig.probes.submitted) == 1


def test_lag_is_how_late_a_check_started():
    """Waiting for a thread is lag, and so is the time the thread took to begin."""
    rig = TurnedEngine(threads=1)
    rig.list(site("a", interval=100.0), site("b", interval=100.0))
    rig.advance(60.0)
    first_slot = rig.probes.moments[0]
    (first,) = rig.probes.take()
    rig.advance(5.0)
    rig.finish(first, refused(), began=first_slot + 0.1)
    rig.engine.start_due_checks()
    (second,) = rig.probes.take()
    rig.finish(second, refused(), began=rig.clock.now + 0.3)
    assert rig.listener.lags[0] == pytest.approx(0.1)
    assert rig.listener.lags[1] >= 5.3


def test_a_stop_starts_nothing_and_waits_for_what_runs(rig):
    """After a stop no check begins; run() returns once the running ones are recorded."""
    rig.list(site("a"), site("b"))
    rig.advance(10.0)
    running = rig.probes.take()
    rig.engine.handle(StopRequested(grace=10.0))
    assert rig.stopping
    rig.advance(5.0)
    assert rig.probes.submitted == []
    for listed in running:
        rig.inbox.put(ProbeFinished(listed, refused(), rig.clock.now))
    assert rig.engine.run() is True
    assert rig.state("a").counters.checks == rig.state("b").counters.checks == 1


def test_a_second_stop_does_not_wait(rig):
    """run() returns at once and says that checks were cut off."""
    rig.list(site())
    rig.advance(10.0)
    rig.engine.handle(StopRequested(grace=1000.0))
    rig.engine.handle(StopRequested(grace=1000.0))
    assert rig.engine.run() is False


def test_the_grace_ends(rig):
    """A check that runs longer than the grace period is cut off."""
    rig.list(site())
    rig.advance(10.0)
    rig.engine.handle(StopRequested(grace=3.0))
    rig.clock.advance(3.1)
    assert rig.engine.run() is False


def test_a_bug_costs_one_step(rig, caplog):
    """An event that raises in the engine is logged and counted, and the loop continues."""
    rig.list(site())
    rig.inbox.put(ProbeFinished(site("stranger"), refused(), 0.0))
    rig.engine.turn()
    assert rig.listener.restarts == 1
    assert "engine_restarted" in caplog.text
    rig.advance(10.0)
    assert len(rig.probes.take()) == 1


def test_once_checks_everything_now(rig):
    """run_once() probes each site without waiting for its slot and returns when all are in."""
    rig.list(site("a", interval=1000.0), site("b", interval=1000.0))
    for name in ("a", "b"):
        rig.inbox.put(ProbeFinished(rig.state(name).site, refused(), 0.0))
    rig.engine.run_once()
    assert rig.state("a").counters.checks == rig.state("b").counters.checks == 1


def test_a_check_that_is_asked_for(rig):
    """It takes a thread and a batch like any other and is answered; no site is listed for it."""
    reply: Future[Result] = Future()
    rig.engine.handle(CheckRequested(site("\n1"), reply))
    rig.engine.start_due_checks()
    (asked,) = rig.probes.take()
    rig.finish(asked, answered())
    assert not reply.done()
    rig.judge()
    assert reply.result(timeout=0).up is True
    assert rig.listener.published == {}


def test_a_check_that_is_asked_for_and_spoilt(rig):
    """The answer says what kept the monitor from checking."""
    reply: Future[Result] = Future()
    rig.engine.handle(CheckRequested(site("\n1"), reply))
    rig.engine.start_due_checks()
    rig.finish(rig.probes.take()[0], ProbeError("no file descriptor is left"))
    assert reply.result(timeout=0).error == "no file descriptor is left"


def test_nobody_waits_for_the_answer_any_more(rig):
    """A reply that was cancelled in the meantime does no harm."""
    reply: Future[Result] = Future()
    rig.engine.handle(CheckRequested(site("\n1"), reply))
    rig.engine.start_due_checks()
    reply.cancel()
    rig.finish(rig.probes.take()[0], refused())
    assert rig.listener.restarts == 0


def test_a_stop_answers_nobody_who_waits():
    """Checks that wait for a thread, and those requested later, are cancelled."""
    rig = TurnedEngine(threads=1)
    replies: list[Future[Result]] = [Future() for _ in range(3)]
    for number in range(2):
        rig.engine.handle(CheckRequested(site(f"\n{number}"), replies[number]))
    rig.engine.start_due_checks()
    rig.engine.handle(StopRequested(grace=3.0))
    rig.engine.handle(CheckRequested(site("\n2"), replies[2]))
    assert [reply.cancelled() for reply in replies] == [False, True, True]
    rig.finish(rig.probes.take()[0], refused())
    assert replies[0].result(timeout=0).up is False


def test_an_interval_shorter_than_the_retry_interval_is_kept(rig):
    """While a failure awaits confirmation, a site is checked at least as often as usual."""
    confirm = Confirm(failures=3, retry_interval=60.0)
    rig.list(site(interval=2.0, confirm=confirm))
    for checks in range(1, 4):
        rig.advance(2.0)
        rig.finish(rig.probes.take()[0], refused())
        assert rig.state().counters.checks == checks
    assert rig.state().status is Status.DOWN


def test_each_failure_that_awaits_confirmation_is_followed_up_soon(rig):
    """Each of them is, not only the first; once the state is confirmed, the interval applies."""
    confirm = Confirm(failures=4, retry_interval=1.0)
    rig.list(site(interval=1000.0, confirm=confirm))
    rig.advance(60.0)
    for checks in range(1, 5):
        rig.finish(rig.probes.take()[0], refused())
        assert rig.state().counters.checks == checks
        rig.advance(1.2)
    assert rig.state().status is Status.DOWN
    assert rig.probes.take() == []


# ---------------------------------------------------------------- flapping and maintenance


def events(caplog):
    return [(record.levelname, record.message) for record in caplog.records]


def check(rig, outcome):
    """Let the next check of the only site come and end in this result."""
    rig.advance(rig.state().site.interval)
    rig.finish(rig.probes.take()[0], outcome)
    rig.judge()


def test_flapping_is_told_once(rig, caplog):
    """It warns when it begins and logs when it ends; transitions in between do not warn."""
    caplog.set_level("INFO")
    rig.list(site())
    for _ in range(5):
        check(rig, answered())
        check(rig, refused())
    assert rig.state().flapping
    assert events(caplog) == [
        ("INFO", "site_up"),
        *[("WARNING", "site_down"), ("INFO", "site_up")] * 2,
        ("WARNING", "site_down"),
        ("INFO", "site_up"),
        ("WARNING", "site_flapping"),
        *[("INFO", "site_down"), ("INFO", "site_up")],
        ("INFO", "site_down"),
    ]
    caplog.clear()
    for _ in range(20):
        check(rig, refused())
    assert not rig.state().flapping
    assert events(caplog) == [("WARNING", "site_steady")]  # the site is steadily down now


def window(rig, begin, length):
    """Return a maintenance window that begins in this many seconds."""
    start = datetime.fromtimestamp(rig.clock.time() + begin, UTC).replace(tzinfo=None)
    end = start + timedelta(seconds=length)
    return (SingleWindow(start=start, end=end, zone=ZoneInfo("UTC")),)


def test_maintenance_begins_and_ends_on_time(rig, caplog):
    """No check is needed for it; failures within it warn of nothing, and later ones do."""
    caplog.set_level("INFO")
    rig.list(site(interval=1000.0, maintenance=window(rig, 100.0, 200.0)), site("other"))
    rig.advance(99.4)
    rig.finish(next(one for one in rig.probes.take() if one.name == "shop"), answered())
    rig.judge()
    assert rig.state().shown is Status.UP
    assert rig.engine.wait_time() <= 0.11
    rig.advance(0.2)
    assert rig.state().shown is Status.MAINTENANCE
    assert rig.state().status is Status.UP
    rig.schedule.check_early("shop", rig.clock.now)
    rig.advance(0.2)
    rig.finish(next(one for one in rig.probes.take() if one.name == "shop"), refused())
    assert (rig.state().status, rig.state().shown) == (Status.DOWN, Status.MAINTENANCE)
    rig.advance(199.0)
    assert rig.state().shown is Status.MAINTENANCE
    rig.advance(1.0)
    assert rig.state().shown is Status.DOWN
    assert events(caplog) == [
        ("INFO", "site_up"),
        ("INFO", "maintenance_began"),
        ("INFO", "site_down"),
        ("WARNING", "maintenance_ended"),
    ]
    assert caplog.records[2].fields["maintenance"] is True
    assert rig.state("other").maintenance is False


def test_maintenance_holds_by_a_clock_that_was_set_back(rig):
    """Even if it is set back by years, an open window closes, and one opens when its time comes."""
    years = 10 * 365 * 86_400.0
    rig.list(
        site("wrong", maintenance=window(rig, -10.0, 100.0)),
        site("right", maintenance=window(rig, 100.0 - years, 100.0)),
    )
    rig.clock.set_back(years)
    rig.advance(50.0)
    assert not rig.state("wrong").maintenance
    rig.advance(50.0)
    assert rig.state("right").maintenance


def test_maintenance_comes_and_goes_with_the_list(rig):
    """A window that is open when the site is listed or removed takes effect at once."""
    rig.list(site(maintenance=window(rig, -10.0, 100.0)))
    assert rig.state().shown is Status.MAINTENANCE
    rig.change(changed=(site(),))
    assert not rig.state().maintenance
    rig.change(removed=("shop",))
    rig.advance(100.0)
    assert rig.listener.published == {}


# ---------------------------------------------------------------- the monitor's own connection

TARGETS = (site("target-a", timeout=5.0), site("target-b", timeout=5.0))


@pytest.fixture
def tethered(rig):
    """A rig with one site and two targets, the first of which has answered once."""
    rig.change(added=(site(interval=1000.0),), connectivity=TARGETS)
    targets(rig, answered())
    rig.listener.connected.clear()
    return rig


def targets(rig, *outcomes):
    """Let a round begin and these targets answer; the others stay silent."""
    rig.engine.start_due_checks()
    asked = [one for one in rig.probes.submitted if one in TARGETS]
    rig.probes.submitted = [one for one in rig.probes.submitted if one not in TARGETS]
    assert [one.name for one in asked] == ["target-a", "target-b"]
    for target, outcome in zip(asked, [*outcomes, *[hung()] * 2], strict=False):
        rig.finish(target, outcome)


def shop(rig):
    """Return the shop once its check has a thread, however long that takes."""
    for _ in range(2000):
        if site(interval=1000.0) in rig.probes.submitted:
            rig.probes.submitted.remove(site(interval=1000.0))
            return rig.state().site
        if any(one in TARGETS for one in rig.probes.submitted):
            targets(rig, answered())
        rig.advance(0.1)
    raise AssertionError("it is not checked")


def test_a_failure_waits_for_proof(tethered):
    """It counts once a target has answered in a round that began after it."""
    listed = shop(tethered)
    tethered.finish(listed, refused())
    assert tethered.state().status is Status.UNKNOWN
    assert tethered.state().last is None
    tethered.advance(1.1)
    targets(tethered, answered())
    assert tethered.state().status is Status.DOWN
    assert tethered.state().counters.failures == {Reason.CONNECT_REFUSED: 1}


def test_a_failure_is_not_proven_by_a_round_under_way(tethered):
    """The cable may have been pulled since that round began."""
    listed = shop(tethered)
    tethered.advance(20.0)
    asked = [one for one in tethered.probes.take() if one in TARGETS]
    tethered.finish(listed, refused())
    for target in asked:
        tethered.finish(target, answered())
    assert tethered.state().last is None
    tethered.advance(1.1)
    targets(tethered)
    assert tethered.state().status is Status.UNKNOWN
    assert tethered.state().counters.errors == 1


def test_without_a_connection_nobody_is_down(tethered, caplog):
    """Failures become errors of ours with the reason, and the site is checked again afterwards."""
    caplog.set_level("INFO")
    tethered.finish(shop(tethered), refused())
    tethered.advance(1.1)
    targets(tethered)
    state = tethered.state()
    assert (state.status, state.shown) == (Status.UNKNOWN, Status.UNKNOWN)
    assert (state.counters.checks, state.counters.errors) == (0, 1)
    assert "connection to 127.0.0.1:80 refused" in state.last.error
    tethered.advance(1.8)
    assert tethered.probes.submitted == []  # not before there is a connection
    tethered.advance(0.4)
    targets(tethered, answered())
    assert tethered.listener.connected[-2:] == [False, True]
    tethered.finish(shop(tethered), answered())
    tethered.judge()
    assert tethered.state().status is Status.UP
    assert [event for event in events(caplog) if "connectivity" in event[1]] == [
        ("WARNING", "connectivity_lost"),
        ("INFO", "connectivity_regained"),
    ]


def test_what_is_local_is_down_without_a_connection(tethered):
    """A site that does not depend on the connection goes down at once, connected or not."""
    local = site("local", interval=1000.0, connectivity=False)
    tethered.change(added=(local,), connectivity=TARGETS)
    tethered.advance(10.0)
    targets(tethered)
    for _ in range(2000):
        if local in tethered.probes.submitted:
            break
        if any(one in TARGETS for one in tethered.probes.submitted):
            targets(tethered)
        tethered.advance(0.1)
    tethered.probes.submitted.remove(local)
    tethered.finish(tethered.state("local").site, refused())
    state = tethered.state("local")
    assert (state.status, state.counters.errors) == (Status.DOWN, 0)
    assert state.counters.failures == {Reason.CONNECT_REFUSED: 1}


def test_a_known_loss_needs_no_further_proof(tethered):
    """While the connection is known to be lost a failure is an error at once; a success counts."""
    tethered.advance(10.0)
    targets(tethered)
    tethered.schedule.check_early("shop", tethered.clock.now)
    tethered.advance(0.1)
    tethered.finish(tethered.probes.take()[0], refused())
    assert tethered.state().counters.errors == 1
    tethered.schedule.check_early("shop", tethered.clock.now)
    tethered.advance(0.1)
    tethered.finish(tethered.probes.take()[0], answered())
    tethered.judge()
    assert tethered.state().status is Status.UP


def test_a_site_that_is_down_anyway_waits_for_nothing(tethered):
    """A failure that changes nothing asks no target, however many such sites there are."""
    tethered.finish(shop(tethered), refused())
    tethered.advance(1.1)
    targets(tethered, answered())
    tethered.schedule.check_early("shop", tethered.clock.now)
    tethered.finish(shop(tethered), refused())
    assert tethered.state().counters.failures == {Reason.CONNECT_REFUSED: 2}
    tethered.advance(1.1)
    assert tethered.probes.submitted == []


def test_a_stop_waits_for_the_proof(tethered):
    """Failures that are held back are results, and are recorded within the grace period."""
    tethered.finish(shop(tethered), refused())
    tethered.engine.handle(StopRequested(grace=60.0))
    tethered.advance(1.1)
    asked = tethered.probes.take()
    assert asked == list(TARGETS)
    for target in asked:
        tethered.inbox.put(ProbeFinished(target, answered(), 0.0))
    assert tethered.engine.run() is True
    assert tethered.state().counters.checks == 1


def test_without_targets_failures_are_not_held_any_more(tethered):
    """A reload that removes the targets settles the failures that wait for them."""
    tethered.finish(shop(tethered), refused())
    tethered.change()
    assert tethered.state().status is Status.DOWN
    assert tethered.listener.connected[-1] is None


def test_targets_come_first(rig):
    """They get the next thread, whatever else waits for one, and do not count as sites."""
    rig = TurnedEngine(threads=1)
    rig.change(added=tuple(site(f"site-{n}") for n in range(5)), connectivity=TARGETS[:1])
    rig.advance(10.0)
    assert rig.probes.take() == [TARGETS[0]]
    rig.finish(TARGETS[0], answered())
    rig.advance(0.1)
    assert rig.probes.take()[0].name.startswith("site-")
    assert "target-a" not in rig.listener.published


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_pulled_cable_takes_nobody_down(data):
    """Whatever runs when the cable is pulled, no failure of a healthy site counts."""
    rig = TurnedEngine()
    sites = tuple(site(f"site-{n}", interval=3.0, timeout=2.0) for n in range(3))
    rig.change(added=sites, connectivity=TARGETS)
    lies = True
    begun: dict[str, Site] = {}
    for step in data.draw(st.lists(st.sampled_from(["cable", "wait", "end", "end"]), max_size=80)):
        match step:
            case "cable" if lies or not rig.engine.held:  # or it ends unnoticed
                lies = not lies
            case "wait":
                rig.advance(0.5)
                begun |= {one.name: one for one in rig.probes.take()}
            case "end" if begun:
                one = begun.pop(data.draw(st.sampled_from(sorted(begun))))
                rig.finish(one, answered() if lies else hung())
                rig.judge()
    for state in rig.listener.published.values():
        assert state.status is not Status.DOWN
        assert state.counters.failures == {}


def test_once_never_checks_twice(rig):
    """However long the run takes, no slot and no retry begins a second check of a site."""
    rig = TurnedEngine(threads=1)
    rig.list(site("a", interval=1.0), site("b", interval=1.0))
    checked = []

    def submit(listed, _at):
        checked.append(listed.name)
        rig.probes.busy += 1
        rig.clock.advance(30.0)  # many slots of both sites pass meanwhile
        rig.inbox.put(ProbeFinished(listed, refused(), rig.clock.now))

    rig.probes.submit = submit
    rig.engine.run_once()
    assert sorted(checked) == ["a", "b"]


@pytest.mark.parametrize("once", [True, False], ids=["once", "stop"])
def test_the_end_comes_with_the_last_verdict(once):
    """The run ends as soon as the last answer is judged and recorded."""
    rig = TurnedEngine(threads=64)
    rig.list(*(site(f"{number}", interval=1000.0) for number in range(64)))

    def submit(listed, at):
        rig.inbox.put(ProbeFinished(listed, answered(), at))
        return Visit(listed, at, begun=True)

    def decide(sites, jobs):
        outcome = tuple(Analysis(verdict=UP) for _ in jobs)
        rig.analysis.decided.append(Judged(Batch(tuple(sites), tuple(jobs), 0.0), outcome))

    rig.probes.submit = submit  # type: ignore[method-assign]  # answered at once
    rig.analysis.submit = decide  # type: ignore[method-assign]  # answered at once
    if once:
        rig.engine.run_once()
    else:
        rig.advance(60.0)
        rig.inbox.put(StopRequested(grace=60.0))
        assert rig.engine.run()
    assert all(state.counters.checks == 1 for state in rig.listener.published.values())


def test_one_poisoned_result_costs_no_other(rig, caplog):
    """A state that cannot be shown stops neither its batch, nor its site, nor a reload."""
    rig.list(*(site(name) for name in ("a", "b", "c")))
    rig.advance(10.0)
    publish = rig.listener.publish

    def fail_for_b(state):
        if state.site.name == "b":
            raise ValueError("cannot be shown")
        publish(state)

    rig.listener.publish = fail_for_b
    for listed in rig.probes.take():
        rig.finish(listed, answered())
    rig.judge()
    assert rig.state("a").counters.checks == rig.state("c").counters.checks == 1
    assert rig.listener.restarts == 1
    rig.advance(10.0)
    assert {listed.name for listed in rig.probes.take()} == {"a", "b", "c"}
    applied: Future[None] = Future()
    change = SiteChange(changed=(site("b", interval=20.0), site("c", interval=20.0)))
    rig.engine.handle(SitesChanged(change, BOUNDS, applied))
    assert applied.done()
    assert rig.state("c").site.interval == 20.0
    assert "cannot be shown" in caplog.text


def test_a_bug_while_a_probe_is_taken_ends_its_check(rig):
    """The site is checked again at its next slot."""
    rig.list(site())
    rig.advance(10.0)
    rig.finish(rig.probes.take()[0], None)  # no probe may return that
    assert rig.listener.restarts == 1
    rig.advance(10.0)
    assert len(rig.probes.take()) == 1


def test_neither_line_starves():
    """If threads are short, a slow site gets its turn once it has been due the longest."""
    rig = TurnedEngine(threads=2)
    rig.list(site("sick", interval=10.0))
    rig.advance(10.0)
    rig.finish(rig.probes.take()[0], hung())
    rig.list(*(site(f"well-{number}", interval=1.0) for number in range(10)))
    checked = set()
    for _ in range(60):
        rig.advance(0.5)
        for listed in rig.probes.take():
            checked.add(listed.name)
            rig.finish(listed, refused())
    assert "sick" in checked


def test_a_check_that_nobody_waits_for_is_not_begun(rig):
    """Its client went away while the check waited for a thread."""
    rig = TurnedEngine(threads=1)
    rig.list(site())
    rig.advance(10.0)
    reply: Future[Result] = Future()
    rig.engine.handle(CheckRequested(site("live"), reply))
    reply.cancel()
    rig.finish(rig.probes.take()[0], refused())
    rig.engine.start_due_checks()
    assert rig.probes.take() == []


def test_an_enormous_interval_is_waited_for_in_pieces(rig):
    """The system refuses waits of many years, so the loop never asks for one."""
    rig.list(site(interval=1e15))
    rig.advance(60.0)
    rig.probes.take()
    assert 0 < rig.engine.wait_time() <= 3600.0


def test_a_site_goes_on_after_a_restart_as_it_was_left(rig, caplog):
    """It is still down, with its evidence, and its next failure reports nothing new."""
    listed = site(confirm=Confirm(failures=2))
    failure = down_result(listed, time=rig.clock.time() - 60)
    known = Remembered(
        status=Status.DOWN,
        since=rig.clock.time() - 10800,
        streak=40,
        streak_since=rig.clock.time() - 10805,
        said=False,
        repeats=2,
        failures=(failure,),
    )
    with caplog.at_level(logging.INFO):
        rig.list(listed, shop=known)
        assert (rig.state().status, rig.state().since) == (Status.DOWN, known.since)
        assert (rig.state().streak, rig.state().failures) == (42, (failure,))
        assert rig.state().last is failure
        rig.advance(10)
        rig.finish(listed, refused(rig.clock.time()))
    assert (rig.state().streak, rig.state().since) == (43, known.since)
    assert "site_down" not in caplog.text


def test_a_failure_that_was_to_be_confirmed_is_asked_after_soon(rig):
    """A restart between the first failure and the second does not delay the confirmation."""
    listed = site(interval=3600, confirm=Confirm(failures=2, retry_interval=5))
    first = rig.clock.time() - 3
    known = Remembered(status=Status.UP, since=0, streak=1, streak_since=first, said=False)
    rig.list(listed, shop=known)
    rig.advance(5.2)
    assert rig.probes.take() == [listed]
    rig.finish(listed, refused(rig.clock.time()))
    assert rig.state().status is Status.DOWN
    assert rig.state().streak_since == first


def test_a_changed_site_that_awaits_confirmation_is_checked_again_soon(rig):
    """A reload between the first failure and the second costs no more than retry_interval."""
    listed = site(interval=1000.0, confirm=Confirm(failures=2, retry_interval=3.0))
    rig.list(listed)
    rig.advance(60.0)
    rig.finish(rig.probes.take()[0], refused(rig.clock.time()))
    rig.change(changed=(replace(listed, group="shops"),))
    rig.advance(3.5)
    rig.finish(rig.probes.take()[0], refused(rig.clock.time()))
    assert rig.state().status is Status.DOWN


def test_a_site_that_no_longer_depends_on_another_has_no_cause_left(rig):
    """Its outage is its own as soon as the list says so, not only after its next check."""
    gateway, child = site("gw"), site("child", depends_on=("gw",))
    rig.list(gateway, child)
    rig.advance(10.0)
    waiting = {one.name: one for one in rig.probes.take()}
    rig.finish(waiting["gw"], refused(rig.clock.time()))
    rig.finish(waiting["child"], refused(rig.clock.time()))
    assert rig.state("child").because == "gw"
    rig.change(removed=("gw",), changed=(replace(child, depends_on=()),))
    rig.engine.start_due_checks()
    assert (rig.state("child").status, rig.state("child").because) == (Status.DOWN, "")


def test_everything_that_becomes_of_a_site_is_noted(rig):
    """Each result is recorded at its own time, and so is the removal of a site."""
    listed = site()
    rig.list(listed)
    rig.advance(10)
    rig.finish(rig.probes.take()[0], refused(time=1234.5))
    assert rig.listener.notes[-1] == (Status.DOWN, 1234.5, True)
    rig.change(removed=("shop",))
    assert rig.listener.gone == ["shop"]


def test_news_of_a_site_lead_to_a_check_each(rig):
    """It begins at once or after the running check; each item causes one, an unknown name none."""
    listed = site(interval=1000.0)
    rig.list(listed)
    for _ in range(3):
        rig.engine.handle(NewsOf("shop"))
    rig.engine.handle(NewsOf("nobody"))
    rig.engine.start_due_checks()
    for _ in range(3):
        (probed,) = rig.probes.take()
        rig.finish(probed, answered())
        rig.judge()
    assert rig.probes.take() == []
    assert rig.state().counters.checks == 3


def test_a_site_of_which_there_is_nothing_to_say_stays_as_it_is(rig):
    """There is neither a result nor an error, and its next slot runs as always."""
    listed = site()
    rig.list(listed)
    rig.advance(10.0)
    (probed,) = rig.probes.take()
    rig.finish(probed, NothingYetError("the site has not called yet"))
    assert rig.state().last is None
    assert rig.state().counters.errors == 0
    rig.advance(10.0)
    assert rig.probes.take() == [listed]


def test_a_child_that_fails_has_its_parent_checked_at_once(rig):
    """Its outage is then due to the parent, and once that is up, the child is checked at once."""
    gateway = site("gw", interval=3600.0, confirm=Confirm(retry_interval=1.0))
    rig.list(gateway, site("child", interval=60.0, depends_on=("gw",)))
    rig.advance(61)
    waiting = {one.name: one for one in rig.probes.take()}
    rig.finish(waiting["gw"], answered(rig.clock.time() - 1))
    rig.judge()
    rig.finish(waiting["child"], refused(rig.clock.time()))
    assert (rig.state("child").status, rig.state("child").because) == (Status.DOWN, "")
    rig.advance(0.1)
    [asked] = rig.probes.take()
    assert asked.name == "gw"
    rig.finish(asked, refused(rig.clock.time()))
    rig.advance(0.1)
    assert rig.state("child").because == "gw"
    rig.schedule.check_early("gw", rig.clock.now)
    rig.advance(0.1)
    [asked] = rig.probes.take()
    rig.finish(asked, answered(rig.clock.time()))
    rig.judge()
    rig.advance(0.1)
    assert rig.state("child").because == ""
    assert [one.name for one in rig.probes.take()] == ["child"]


def test_the_cause_is_the_first_of_a_chain(rig):
    """It is the topmost site that is down; one that leaves the list explains nothing any more."""
    names = ("gw", "child", "grandchild")
    sites = [
        site(name, depends_on=(parent,) if parent else ())
        for name, parent in zip(names, ("", "gw", "child"), strict=True)
    ]
    down = Remembered(status=Status.DOWN, since=1.0)
    rig.list(*sites, **dict.fromkeys(names, down))
    rig.advance(0.1)
    assert [rig.state(name).because for name in names] == ["", "gw", "gw"]
    rig.change(removed=("gw",))
    rig.advance(0.1)
    assert [rig.state(name).because for name in names[1:]] == ["", "child"]
