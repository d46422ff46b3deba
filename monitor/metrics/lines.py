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

    Most of what a site shows is as it was after its last check, and is not written again.

    Args:
        site: Every line carries this site's labels; None for lines with only their own.
        last: What was shown of this very site last.
    """

    __slots__ = ("_alone", "_before", "_last", "_site", "_texts", "_values")

    def __init__(self, site: Site | None, last: Series | None = None) -> None:
        self._site = site
        self._last = last
        self._values: dict[str, float | str] = {}
        self._texts: dict[str, str] = {}
        self._alone, self._before = "", "{"
        if site is not None:
            labels = _site_labels(site)
            self._alone, self._before = f"{{{labels}}}", f"{{{labels},"

    def plain(self, values: Mapping[str, float]) -> None:
        """Add families of one sample each."""
        self._values.update(values)

    def labelled(self, name: str, samples: Iterable[tuple[str, float]]) -> None:
        """Add the samples of one family, each with the text of its own labels."""
        head = name + self._before
        self._texts[name] = "".join([f"{head}{label}}} {value!r}\n" for label, value in samples])

    def info(self, name: str, labels: str) -> None:
        """Add a family with one sample, 1, whose labels hold the information."""
        self._values[name] = labels

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
        shape = _shape((*self._values, *self._texts))
        values = tuple([self._values.get(name) for name in shape.families])
        last = self._last
        if last is None or last.shape is not shape:
            return Series(shape, tuple(map(self._text, shape.families, values)), values)
        # The same object, not an equal one: 1 and 1.0 are written differently
        texts = [
            text if value is before and value is not None else self._text(name, value)
            for name, value, before, text in zip(
                shape.families, values, last.values, last.texts, strict=True
            )
        ]
        return Series(shape, tuple(texts), values)

    def _text(self, name: str, value: float | str | None) -> bytes:
        if value is None:
            text = self._texts[name]
        elif isinstance(value, str):
            text = f"{name}{self._before}{value}}} 1\n"
        else:
            text = f"{name}{self._alone} {value!r}\n"
        # As bytes: each object is 16 bytes smaller than a text, and there are many
        return text.encode()
