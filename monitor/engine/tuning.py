"""
The engine's tuning: numbers that were found by measuring, each with what was measured.

Ratios and milliseconds are from docs/performance.md, which says how to measure them again, and from
its machine with two processors. A number without a measurement is a limit, and says against what.
"""

from dataclasses import dataclass

from monitor.model import Bytes, Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """
    How far ahead, how many at a time, and for how long.

    Attributes:
        batch_jobs: Observations after which a batch is sent to a worker, however short the wait. A
            round trip costs about the same for one observation as for a dozen. With 64, and
            ``batch_wait``, the processor time of a check at 400 checks/s fell from 0.53 to 0.48 of
            blackbox_exporter's.
        batch_bytes: Bytes of bodies after which a batch is sent; a limit on the size of a message
            to a worker.
        batch_wait: The longest that an observation waits for others to travel with.
        batch_share: The same as a share of its site's interval, if that is shorter. Together
            with handles that keep their options: 0.88 of the processor time of the step before.
        batch_wait_awaited: The longest that an observation waits if somebody waits for its result;
            a limit on what collecting a batch adds to the answer of ``/probe``.
        ahead: The most checks that are handed to the threads before their slots. The more, the less
            often the loop turns, but threads that wait for a slot get in each other's way: at 1,700
            checks/s and 0.1 s ahead for all, a third began more than 0.1 s late.
        ahead_least: The least time before its slot that a check is handed out. With 0.02 s, it took
            5 % more processor time than with 0.05.
        ahead_most: The most time before its slot that a check is handed out. With 0.1 s, it took
            0.95 of the processor time with 0.05 at 400 checks/s, and 0.93 at 100; with 0.2 s
            another 3 % less at 100, but p99 at 400 was 1.4 instead of 1.05 ms.
        send_before: How long before its slot a thread is sent to a check for which no thread came
            back; a limit, above the time in which a thread wakes up.
        doze: The longest that the loop sleeps until the next thing to do, whatever arrives in that
            time; waking it costs more than most events do. Together with batches of 0.1 s
            and threads that take one site after the other: 0.99 instead of 1.08 of
            blackbox_exporter's processor time.
        record_at_once: Results that are recorded in one go. With 64, other threads waited 3 ms for
            the interpreter; with 8 and ``record_rest``, p99 fell from 2.5 to 1.6 ms; 3 changed
            nothing; 16 cost 2 % less processor time than 8, with the same p99.
        record_rest: The pause after these, in which other threads get the interpreter.
        events_at_once: Events that are taken from the inbox before the loop looks again for what is
            due; a limit on how much events can delay a slot.
        starts_at_once: Checks that are handed to threads before the loop looks again whether the
            process is under pressure; a limit on how many checks one look allows.
        edges_at_once: Maintenance windows that open or close before the loop looks at anything
            else; thousands of sites may share one.
        explained_at_once: In the same way, sites whose cause is searched for after another site
            went down or came up; thousands may depend on one.
        longest_wait: No wait is longer; the system refuses waits of many years.
        slow: A site that was down after this long will probably hold its next thread as long, and
            waits in the line that gets half of the threads (decision 4).
    """

    batch_jobs: int = 64
    batch_bytes: Bytes = 4 * 1024**2
    batch_wait: Seconds = 0.5
    batch_share: float = 0.05
    batch_wait_awaited: Seconds = 0.005
    ahead: int = 40
    ahead_least: Seconds = 0.05
    ahead_most: Seconds = 0.1
    send_before: Seconds = 0.005
    doze: Seconds = 0.1
    record_at_once: int = 16
    record_rest: Seconds = 0.002
    events_at_once: int = 32
    starts_at_once: int = 32
    edges_at_once: int = 100
    explained_at_once: int = 25
    longest_wait: Seconds = 3600.0
    slow: Seconds = 1.0
