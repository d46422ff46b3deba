"""A sign of life for a service that raises an alarm when it stops coming."""

from collections.abc import Callable

from monitor.clock import Clock, Deadline
from monitor.errors import ProbeError
from monitor.model import Failure
from monitor.notify import HeartbeatOptions
from monitor.outbound import Caller, OutgoingRequest
from monitor.units import Seconds

_TIMEOUT: Seconds = 10.0


class Heartbeat:
    """Requests a URL at regular intervals while all is well; belongs to one thread."""

    def __init__(
        self,
        options: HeartbeatOptions,
        call: Caller,
        clock: Clock,
        trouble: Callable[[], str | None],
    ) -> None:
        """
        Begin with the first one due at once.

        Args:
            trouble: Returns a sentence that says what is not well; None if all is well.
        """
        self._call = call
        self._clock = clock
        self._trouble = trouble
        self._interval = options.interval
        self._request = OutgoingRequest(url=options.url, tls=options.tls, proxy=options.proxy)
        self.next_at: Seconds = clock.monotonic()

    def beat(self) -> str | None:
        """
        Request the URL, unless something is wrong, and plan the next request.

        It takes 10 s at most, or the interval if that is shorter.

        Returns:
            None if it was received, otherwise a sentence that says why not and shows no secret.
        """
        began = self._clock.monotonic()
        # On a grid, so that the durations of requests do not add up
        missed = max(0.0, began - self.next_at) // self._interval
        self.next_at += (missed + 1) * self._interval
        trouble = self._trouble()
        if trouble:
            return f"no heartbeat: {trouble}"
        deadline = Deadline.after(min(_TIMEOUT, self._interval), self._clock)
        try:
            reply = self._call(self._request, deadline)
        except ProbeError as error:
            return str(error)
        if isinstance(reply, Failure):
            return reply.message
        if not 200 <= reply.status < 300:  # noqa: PLR2004  success (RFC 9110, 15.3)
            return f"the heartbeat's URL answered with status {reply.status}"
        return None
