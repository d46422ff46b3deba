"""The next batch: observations are collected to share the round trip to a worker. Pure."""

from monitor.engine.tuning import Tuning
from monitor.model import Bytes, HttpAnswer, Job, Seconds, Site


class Batcher:
    """
    The mutable state is the collected observations; it belongs to the engine.

    Attributes:
        send_at: When to send the batch, on the monotonic clock; None if it is empty.
    """

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning
        self._gathered: list[tuple[Site, Job]] = []
        self._bytes: Bytes = 0
        self.send_at: Seconds | None = None

    def add(self, site: Site, job: Job, now: Seconds, *, awaited: bool) -> bool:
        """
        Add one observation.

        Args:
            awaited: Whether somebody waits for this result.

        Returns:
            Whether the batch is full and must be taken now.
        """
        tuning = self._tuning
        if isinstance(job.observation.answer, HttpAnswer):
            self._bytes += len(job.observation.answer.body)
        self._gathered.append((site, job))
        if awaited:
            wait = tuning.batch_wait_awaited
        else:
            wait = min(tuning.batch_wait, site.interval * tuning.batch_share)
        send_at = now + wait
        self.send_at = send_at if self.send_at is None else min(self.send_at, send_at)
        return len(self._gathered) >= tuning.batch_jobs or self._bytes >= tuning.batch_bytes

    def take(self) -> tuple[tuple[Site, ...], tuple[Job, ...]]:
        """Return the collected sites, at least one, with a job for each, and start over."""
        sites, jobs = zip(*self._gathered, strict=True)
        self._gathered = []
        self._bytes = 0
        self.send_at = None
        return sites, jobs
