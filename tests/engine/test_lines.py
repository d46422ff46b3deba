"""Which waiting check gets the next thread."""

from monitor.engine.lines import Check, Lines
from tests.builders import site


def waiting(name: str, due: float, *, slow: bool = False) -> Check:
    return Check(site(name), due, slow=slow)


def lines(*checks: Check, threads: int = 8, gone: tuple[Check, ...] = ()) -> Lines:
    made = Lines(threads, lambda check: all(check is not one for one in gone))
    for check in checks:
        made.join(check)
    return made


def taken(from_: Lines) -> list[str]:
    """Take checks until no more may be taken."""
    names = []
    while (check := from_.take()) is not None:
        names.append(check.site.name)
    return names


def test_slow_checks_get_half_of_the_threads():
    """They get four of eight threads, whatever else waits; one that ends admits the next."""
    slow = [waiting(f"slow-{number}", number, slow=True) for number in range(6)]
    some = lines(*slow, waiting("well", 100.0))
    assert taken(some) == ["slow-0", "slow-1", "slow-2", "slow-3", "well"]
    assert (some.slow_probing, some.waiting, some.waiting_slow) == (4, 0, 2)
    some.leave(slow[0])
    assert taken(some) == ["slow-4"]


def test_a_single_thread_takes_slow_checks_too():
    """Half of one thread would be zero, and slow sites would never be checked."""
    assert taken(lines(waiting("slow", 0.0, slow=True), threads=1)) == ["slow"]


def test_the_check_that_is_due_longest_comes_first():
    """Neither queue waits until the other is empty."""
    some = lines(waiting("b", 2.0), waiting("c", 3.0), waiting("a", 1.0, slow=True))
    assert some.longest_due(9.0) == 1.0
    assert taken(some) == ["a", "b", "c"]
    assert some.longest_due(9.0) == 9.0


def test_checks_that_were_given_up_are_passed_over():
    """A check whose site has left the list, or whose client has gone, takes no thread."""
    gone = (waiting("gone", 0.0), waiting("gone too", 0.0, slow=True))
    some = lines(*gone, waiting("here", 1.0), gone=gone)
    assert not some.empty
    assert taken(some) == ["here"]
    assert some.empty
    assert some.slow_probing == 0
