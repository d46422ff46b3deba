"""
``python -m tests.pictures``: the pictures in docs/pictures/, made from the real thing.

The pages come from the monitor's own web server and are taken by Chromium; the output of
``monitor probe`` is what the command prints of a check against a server on this machine.
"""

import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import trustme
from playwright.sync_api import Browser
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from tests.web.browser import chromium
from tests.web.served import served

FOLDER = Path(__file__).parent.parent / "docs" / "pictures"
WIDE, NARROW = 1280, 360

_SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" \
role="img" aria-label="the output of monitor probe">
<style>
.{unique_id}-matrix {{ font: {char_height}px/{line_height}px ui-monospace, Menlo, Consolas, \
"DejaVu Sans Mono", monospace; font-variant-ligatures: none; white-space: pre; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" \
height="{terminal_height}"/></clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""
"""Rich's own has a browser fetch its typeface from another host."""


def take(browser: Browser, url: str, name: str, *, dark: bool = False, width: int = WIDE) -> None:
    """Write a page as docs/pictures/NAME.png, at most as high as a screen."""
    context = browser.new_context(
        color_scheme="dark" if dark else "light",
        viewport={"width": width, "height": 760 if width == WIDE else 700},
        locale="en-GB",
    )
    page = context.new_page()
    page.goto(url)
    page.screenshot(path=FOLDER / f"{name}.png")
    context.close()


class _Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        time.sleep(0.07)
        body = b"<h1>Shop</h1>\n" * 300
        self.send_response_only(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def probe_picture() -> None:
    """Write what ``monitor probe`` prints as docs/pictures/probe.svg."""
    name = "shop.example.com"
    authority = trustme.CA(organization_name="Example", organization_unit_name="Example CA")
    ends = datetime.now(UTC) + timedelta(days=64)
    certificate = authority.issue_cert(name, common_name=name, not_after=ends)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Shop)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        ca_file = Path(folder, "ca.pem")
        authority.cert_pem.write_to_path(str(ca_file))
        command: list[str | Path] = [
            Path(sys.executable).with_name("monitor"),
            "probe",
            f"https://{name}",
        ]
        command += ["--ca-file", ca_file, "--connect-to", f"127.0.0.1:{server.server_port}"]
        environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": "96"}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    server.shutdown()
    server.server_close()
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=96, file=nowhere, force_terminal=True)
        console.print(Text.from_ansi(f"$ monitor probe https://{name}\n{done.stdout.rstrip()}"))
        svg = console.export_svg(
            title="monitor probe", theme=MONOKAI, code_format=_SVG, unique_id="probe"
        )
    (FOLDER / "probe.svg").write_text(svg)


def main() -> None:
    path = shutil.which("chromium")
    if path is None:
        sys.exit("chromium is not installed; apt-get install chromium")
    FOLDER.mkdir(parents=True, exist_ok=True)
    probe_picture()
    with served() as at, chromium(path) as browser:
        take(browser, f"{at.url}/", "sites")
        take(browser, f"{at.url}/", "sites-dark", dark=True)
        take(browser, f"{at.url}/", "sites-narrow", width=NARROW)
        take(browser, f"{at.url}/sites/checkout", "site")
        take(browser, f"{at.public_url}/status", "status")
        take(browser, f"{at.public_url}/status", "status-dark", dark=True)
        take(browser, f"{at.public_url}/status", "status-narrow", width=NARROW)


if __name__ == "__main__":
    main()
