"""
A connection to PostgreSQL that gives up on a silent server.

A firewall that forgets a connection, or a proxy that hangs, sends no error: without a limit in the
client, a query waits for its answer forever, whatever limits the server has.
"""

import math
from collections.abc import Generator
from time import monotonic
from typing import Any, TypeVar

from psycopg import Connection, OperationalError

from monitor.model import Seconds

_Answer = TypeVar("_Answer")


class WatchedConnection(Connection[Any]):
    """
    A connection that closes itself if an answer does not come in time.

    Attributes:
        silence: How long the server may stay silent while we wait for its answer.
    """

    silence: Seconds = math.inf

    def wait(self, gen: Generator[Any, Any, _Answer], *arguments: Any, **options: Any) -> _Answer:
        """Do what psycopg does; raise OperationalError if the server is silent for too long."""
        return super().wait(self._watched(gen), *arguments, **options)

    def _watched(self, gen: Generator[Any, Any, _Answer]) -> Generator[Any, Any, _Answer]:
        give_up = monotonic() + self.silence
        try:
            wanted = next(gen)
            while True:
                # psycopg sends 0 every 0.1 s while the socket is not ready
                if ready := (yield wanted):
                    give_up = monotonic() + self.silence
                elif monotonic() > give_up:
                    self.close()  # a late answer would be taken for that of the next query
                    raise OperationalError(
                        f"the server has not answered for {self.silence:g} seconds"
                    )
                wanted = gen.send(ready)
        except StopIteration as end:
            answer: _Answer = end.value
            return answer
