"""
Jinja's environment for the pages and feeds, with the filters and values of the templates.

Jinja is loaded with the first page: many daemons serve only metrics, and it takes 2 MB.
"""

import base64
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from monitor.model import Status
from monitor.options import show_duration, show_minute
from monitor.report import moment
from monitor.web.charts import SCALE
from monitor.web.words import NO_DATA, show_moment, show_time, show_uptime

if TYPE_CHECKING:
    from jinja2 import Template

ORDER = (Status.DOWN, Status.UNKNOWN, Status.MAINTENANCE, Status.UP)
"""The worst comes first."""
_COLOURS = {
    Status.DOWN: "#c62828",
    Status.UNKNOWN: "#8a8f98",
    Status.MAINTENANCE: "#3569b8",
    Status.UP: "#2e8b57",
}


class Renderer:
    """Fills templates; every text is escaped."""

    def __init__(self) -> None:
        from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415  see above
        from markupsafe import Markup  # noqa: PLC0415  see above

        self._environment = Environment(
            loader=PackageLoader("monitor.web"),
            autoescape=True,
            auto_reload=False,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals |= {
            "style": Markup(_style()),  # noqa: S704  our own file
            "states": ORDER,
            "icon": _icon,
            "scale": SCALE,
            "dash": NO_DATA,
        }
        self._environment.filters.update(
            moment=moment,
            utc=show_moment,
            minute=show_minute,
            duration=show_time,
            uptime=show_uptime,
            setting=show_duration,
            in_path=_in_path,
            web_link=_web_link,
        )

    def template(self, name: str) -> "Template":
        """Return a template, compiled at its first use, which takes 5 to 20 ms."""
        return self._environment.get_template(name)


@cache
def security_policy() -> str:
    """Return the Content-Security-Policy that the pages need to look right."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


@cache
def _style() -> str:
    return (Path(__file__).parent / "templates" / "style.css").read_text("utf-8")


@cache
def renderer() -> Renderer:
    """Return this process' only renderer, so that each template is compiled once."""
    return Renderer()


def encoded(template: "Template", **context: Any) -> Iterator[bytes]:
    """Yield the filled template in pieces."""
    for text in template.generate(context):
        yield text.encode(errors="replace")


def _in_path(name: str) -> str:
    """Return the name as one segment of a path; its slashes are escaped."""
    return quote(name, safe="", errors="replace")


def _web_link(target: str) -> str | None:
    """Return the target if a browser can follow it, else None."""
    return target if target.lower().startswith(("http://", "https://")) else None


def _icon(worst: Status) -> str:
    """Return the browser tab's picture: a dot in the worst state's colour."""
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">'
        f'<circle cx="8" cy="8" r="7" fill="{_COLOURS[worst]}"/></svg>'
    )
    return "data:image/svg+xml," + quote(svg)
