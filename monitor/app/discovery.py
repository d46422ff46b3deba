"""
Wires the sources of sites; part of the composition root.

It is loaded, together with everything it needs, only if a list has such sources.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from monitor.app.gentle import interruptibly
from monitor.clock import SystemClock
from monitor.config.discovery import read_yaml
from monitor.config.load import Config, Tables
from monitor.discovered import SourceContents
from monitor.metrics.internal import Internal
from monitor.sources.discovery import Discovery, look_once
from monitor.sources.memory import LastGoodLists
from monitor.sources.ports import World


def open_discovery(
    folder: Path | None, internal: Internal, on_change: Callable[[], None]
) -> Discovery:
    """
    Return the object that watches sources; it watches none yet.

    Args:
        folder: The data folder, if there is one.
    """
    return Discovery(
        _world(),
        on_change,
        clock=SystemClock(),
        meters=internal,
        memory=LastGoodLists(folder),
        working=interruptibly,
    )


def discover_once(config: Config, tables: Tables) -> tuple[Config, tuple[str, ...]]:
    """
    Return the configuration with the sites that its sources list now, and the problems found.

    For commands that check once.
    """
    found: Mapping[str, SourceContents] = dict(_looks(config))
    adopted = config.adoption(tables).adopt(found)
    wrong = [f"{source}: {remark}" for source, one in found.items() for remark in one.remarks]
    wrong += [f"{source}: {one}" for source, them in adopted.rejected.items() for one in them]
    return config.with_discovered(adopted), tuple(wrong)


def _looks(config: Config) -> Iterator[tuple[str, SourceContents]]:
    yield from look_once((one.source for one in config.sources), _world())


def _world() -> World:
    return World(read_yaml, os.environ)
