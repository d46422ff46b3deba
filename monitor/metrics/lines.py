"""
Sample lines of one site: labels escaped once, numbers as Python writes them.

A line's text is assembled when Prometheus asks: the lines of ten thousand sites are 36 MB, of which
only the values differ from check to check, and most of the rest is the same for all sites.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from monitor.board import Sample, Series, Shape
from monitor.metrics.families import FAMILIES, SITE_LABELS
from monitor.model import Site

_PLACES: Mapping[str, int] = {family.name: place for place, family in enumerate(FAMILIES)}
_SPECIAL = re.compile(r'[\\"\n\ud800-\udfff]')
_ESCAPES = {"\\": r"\\", '"': r"\"", "\n": r"\n"}


def label_text(name: str, value: str) -> str:
    return f'{name}="{_SPECIAL.sub(_escaped, value)}"'


def _escaped(special: re.Match[str]) -> str:
    # Broken UTF-8 from the environment or a file becomes surrogates, which cannot be encoded
    return _ESCAPES.get(special[0], "\N{REPLACEMENT CHARACTER}")


def _site_labels(site: Site) -> str:
    values = zip(SITE_LABELS, (site.name, site.target, site.group), strict=True)
    return ",".join([label_text(name, value) for name, value in (*values, *site.labels)])


class _Part(NamedTuple):
    """
    A sample within its family.

    Attributes:
        suffix: The part of its name that follows the family's name.
        label: Its own label; empty if its value contains the label, None if it has none.
    """

    suffix: str
    label: str | None


_ALONE = (_Part("", None),)
_FREE = _Part("", "")


@lru_cache(maxsize=1024)
def _shape(
    alone: tuple[str, ...], others: tuple[tuple[str, tuple[_Part, ...]], ...], *, sited: bool
) -> Shape:
    families: dict[str, tuple[Sample, ...]] = {}
    column = 0
    for name, parts in (*((name, _ALONE) for name in alone), *others):
        families[name] = tuple(
            Sample(
                f"\n{name}{part.suffix}".encode(),
                _after(part.label, sited=sited).encode(),
                column + number,
            )
            for number, part in enumerate(parts)
        )
        column += len(parts)
    return Shape({name: families[name] for name in sorted(families, key=_PLACES.__getitem__)})


def _after(label: str | None, *, sited: bool) -> str:
    if label is None:
        return "} " if sited else " "
    return f"{',' if sited else '{'}{label}}} " if label else ""


@lru_cache(maxsize=1024)
def _labelled(labels: tuple[str, ...]) -> tuple[_Part, ...]:
    return tuple(_Part("", label) for label in labels)


@lru_cache(maxsize=64)
def _histogram(bounds: tuple[str, ...]) -> tuple[_Part, ...]:
    buckets = (_Part("_bucket", bound) for bound in bounds)
    return (*buckets, _Part("_sum", None), _Part("_count", None))


_FEW = 1024
_NUMBERS = tuple(str(number).encode() for number in range(_FEW))
"""One object for all sites with the same status, or with the same small number of checks."""


def texts(values: Iterable[float]) -> list[bytes]:
    """Return numbers as they are exposed."""
    return [
        _NUMBERS[value] if type(value) is int and 0 <= value < _FEW else b"%a" % value
        for value in values
    ]


@lru_cache(maxsize=4096)
def label_of_few(name: str, value: str) -> str:
    """Return a label with one of few values, such as a TLS version; such labels are cached."""
    return label_text(name, value)


def histogram_values(counts: Iterable[float], total: float) -> tuple[float, ...]:
    """Return a histogram's values in the order of its samples, from the count of each bucket."""
    reached = (*accumulate(counts),)
    return (*reached, total, reached[-1])


class SampleLines:
    """
    The sample lines of one site, by family.

    Args:
        site: Every line carries this site's labels; None for lines with only their own.
        last: The previous series of this site, which has the same labels.
    """

    __slots__ = ("_alone", "_last", "_others", "_site", "_values")

    def __init__(self, site: Site | None, last: Series | None = None) -> None:
        self._site = site
        self._last = last
        self._alone: dict[str, float] = {}
        self._others: dict[str, tuple[_Part, ...]] = {}
        self._values: dict[str, list[bytes]] = {}

    def plain(self, values: Mapping[str, float]) -> None:
        """Add families of one sample each."""
        self._alone |= values

    def labelled(self, name: str, samples: Sequence[tuple[str, float]]) -> None:
        """Add the samples of one family, each with its own label that many sites share."""
        labels, values = zip(*samples, strict=True)
        self._others[name] = _labelled(labels)
        self._values[name] = texts(values)

    def free(self, name: str, samples: Sequence[tuple[str, float]]) -> None:
        """Add the samples of one family, each with labels that few other sites share."""
        before = "{" if self._site is None else ","
        self._others[name] = (_FREE,) * len(samples)
        self._values[name] = [f"{before}{label}}} {value!r}".encode() for label, value in samples]

    def info(self, name: str, labels: str) -> None:
        """Add a family with one sample, 1, whose labels hold the information."""
        self.free(name, ((labels, 1),))

    def histogram(
        self, name: str, bounds: tuple[str, ...], counts: Sequence[int], total: float
    ) -> None:
        """Add a histogram from counts that are not cumulative; the last bound is ``+Inf``."""
        own = [count for _, count in zip(bounds, counts, strict=True)]
        self._others[name] = _histogram(bounds)
        self._values[name] = texts(histogram_values(own, total))

    def free_label(self, name: str) -> str:
        """Return the name, with exported_ before it (as in Prometheus) if the site uses it."""
        if self._site is not None:
            taken = {*SITE_LABELS, *dict(self._site.labels)}
            while name in taken:
                name = f"exported_{name}"
        return name

    def series(self) -> Series:
        alone, others, sited = self._alone, self._others, self._site is not None
        values = texts(alone.values())
        for some in self._values.values():
            values += some
        shape = _shape(tuple(alone), tuple(others.items()), sited=sited)
        return Series(shape, self._labels(), tuple(values))

    def _labels(self) -> bytes:
        if self._last is not None:
            return self._last.labels
        return b"" if self._site is None else f"{{{_site_labels(self._site)}".encode()
