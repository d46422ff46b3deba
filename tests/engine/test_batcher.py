"""When collected observations are sent to a worker."""

import pytest

from monitor.engine.batcher import Batcher
from monitor.engine.tuning import Tuning
from monitor.model import Job
from tests.builders import answered, site

TUNING = Tuning(batch_jobs=3, batch_bytes=1000, batch_wait=0.5, batch_share=0.05)


def job(body: bytes = b"") -> Job:
    return Job(observation=answered(body=body))


@pytest.mark.parametrize(
    ("interval", "awaited", "send_at"),
    [(60.0, False, 100.5), (2.0, False, 100.1), (60.0, True, 100.005)],
    ids=["long interval", "short interval", "somebody waits"],
)
def test_how_long_observations_gather(interval, awaited, send_at):
    """They wait half a second, a twentieth of the site's interval, or close to nothing."""
    batcher = Batcher(TUNING)
    assert batcher.send_at is None
    batcher.add(site(interval=interval), job(), 100.0, awaited=awaited)
    assert batcher.send_at == pytest.approx(send_at)
    batcher.add(site(interval=1000.0), job(), 100.0, awaited=False)
    assert batcher.send_at == pytest.approx(send_at)  # the most urgent one decides


@pytest.mark.parametrize(
    ("bodies", "full"),
    [
        ([b"", b""], [False, False]),
        ([b"", b"", b""], [False, False, True]),
        ([b"x" * 999, b""], [False, False]),
        ([b"x" * 600, b"x" * 400], [False, True]),
    ],
)
def test_a_batch_is_full(bodies, full):
    """It is full at a number of observations, or at a number of bytes of bodies."""
    batcher = Batcher(TUNING)
    assert [batcher.add(site(), job(body), 0.0, awaited=False) for body in bodies] == full


def test_taking_a_batch_begins_the_next():
    """Sites and jobs keep the order in which they were added, and the next batch starts empty."""
    batcher = Batcher(TUNING)
    jobs = job(b"x" * 900), job()
    sites = site("a"), site("b")
    for one, its in zip(sites, jobs, strict=True):
        batcher.add(one, its, 0.0, awaited=False)
    assert batcher.take() == (sites, jobs)
    assert batcher.send_at is None
    assert batcher.add(site("c"), job(b"x" * 900), 0.0, awaited=False) is False
