"""Sample lines of one site: labels escaped once, numbers as Python writes them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate

from monitor.board import Series, Shape
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


@lru_cache(maxsize=1024)
def _shape(names: tuple[str, ...]) -> Shape:
    return Shape(tuple(sorted(names, key=_PLACES.__getitem__)))


@lru_cache(maxsize=4096)
def label_of_few(name: str, value: str) -> str:
    """Return a label with one of few values, such as a TLS version; such labels are cached."""
    return label_text(name, value)


class Lines:
    """
    The sample lines of one site, by family.

    Args:
        site: Every line carries this site's labels; None for lines with only their own.
    """

    __slots__ = ("_alone", "_before", "_site", "_texts")

    def __init__(self, site: Site | None) -> None:
        self._site = site
        self._texts: dict[str, str] = {}
        self._alone, self._before = "", "{"
        if site is not None:
            labels = _site_labels(site)
            self._alone, self._before = f"{{{labels}}}", f"{{{labels},"

    def plain(self, values: Mapping[str, float]) -> None:
        """Add families of one sample each."""
        labels = self._alone
        for name, value in values.items():
            self._texts[name] = f"{name}{labels} {value!r}\n"

    def labelled(self, name: str, samples: Iterable[tuple[str, float]]) -> None:
        """Add the samples of one family, each with the text of its own labels."""
        head = name + self._before
        self._texts[name] = "".join([f"{head}{label}}} {value!r}\n" for label, value in samples])

    def info(self, name: str, labels: str) -> None:
        """Add a family with one sample, 1, whose labels hold the information."""
        self._texts[name] = f"{name}{self._before}{labels}}} 1\n"

    def histogram(
        self, name: str, bounds: Sequence[str], counts: Sequence[int], total: float
    ) -> None:
        """Add a histogram from counts that are not cumulative; the last bound is ``+Inf``."""
        head = f"{name}_bucket{self._before}"
        reached = [*accumulate(counts)]
        lines = [f"{head}{bound}}} {count}\n" for bound, count in zip(bounds, reached, strict=True)]
        lines.append(f"{name}_sum{self._alone} {total!r}\n")
        lines.append(f"{name}_count{self._alone} {reached[-1]}\n")
        self._texts[name] = "".join(lines)

    def free_label(self, name: str) -> str:
        """Return the name, with exported_ before it (as in Prometheus) if the site uses it."""
        if self._site is not None:
            taken = {*SITE_LABELS, *dict(self._site.labels)}
            while name in taken:
                name = f"exported_{name}"
        return name

    def series(self) -> Series:
        texts = self._texts
        shape = _shape(tuple(texts))
        # As bytes: each object is 16 bytes smaller than a text, and there are many
        return Series(shape, tuple([texts[name].encode() for name in shape.families]))
