"""
Debian's Chromium, driven by Playwright.

Playwright rather than Selenium: it reports every request, console line and policy violation by
itself, switches between light and dark, and axe-core's current release comes in a package for it.
It drives the installed browser and downloads none.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

FLAGS = (
    "--no-sandbox",  # the tests may run as root, in a container
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def chromium(path: str) -> Iterator[Browser]:
    """Start the browser without a window, in a new and empty profile."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()
