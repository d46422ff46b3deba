"""Publishes the engine's states; runs in the main thread."""

from collections.abc import Iterable

from monitor.board import BoardEntry, StatusBoard
from monitor.metrics.exposition import render
from monitor.model import Seconds, SiteState


class BoardPublisher:
    """Renders states as they come and puts them on the board."""

    def __init__(self, board: StatusBoard) -> None:
        self._board = board
        self._bounds: tuple[Seconds, ...] = ()

    def publish(self, state: SiteState) -> None:
        before = self._board.get(state.site.name)
        last = before if before is not None and before.state.site is state.site else None
        self._board.publish((BoardEntry(state, render(state, self._bounds, last)),))

    def remove(self, names: Iterable[str]) -> None:
        self._board.remove(names)

    def bounds_changed(self, bounds: tuple[Seconds, ...]) -> None:
        self._bounds = bounds
