"""
The pages in Debian's Chromium: no script error, no request to another host, accessible to all.

axe-core finds the violations of WCAG 2.2 AA that a program can find; the tests try what it
cannot, such as whether the keyboard alone reaches everything.
"""

import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe
from starlette.responses import HTMLResponse

from monitor.web.server import WebServer
from tests.web import demo, states
from tests.web.browser import chromium
from tests.web.past import FakeHistory
from tests.web.served import served

pytestmark = pytest.mark.real

NARROW, WIDE = 360, 1280
RULES = {
    "runOnly": [
        *("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice")
    ]
}
PAGES = [
    "/",
    "/?state=down",
    "/?q=nothing-like-it",
    "/sites/checkout",
    "/sites/images-10",
    "/sites/status%20mail",
    "/status",
]


@pytest.fixture(scope="module")
def program():
    """Return Chromium's path, looked up once; without it the tests skip or fail as usual."""
    return shutil.which("chromium")


@pytest.fixture(scope="module")
def browser(program):
    if program is None:
        yield None
        return
    with chromium(program) as started:
        yield started


@pytest.fixture(scope="module")
def at():
    with served() as found:
        yield found


@pytest.fixture
def visit(browser, real):
    """
    Return a function that opens a page as somebody would, and watches what it does.

    At the end of the test nothing may have gone wrong, and no other host may have been asked.
    """
    real("chromium")
    contexts = []
    said: list[str] = []
    asked: list[str] = []

    def open_page(url, *, dark=False, width=WIDE, javascript=True):
        context = browser.new_context(
            color_scheme="dark" if dark else "light",
            viewport={"width": width, "height": 800},
            java_script_enabled=javascript,
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda line: said.append(line.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
    assert [one for one in asked if not one.startswith(("http://127.0.0.1:", "data:"))] == []


@pytest.mark.parametrize("width", [NARROW, WIDE])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_pages_are_for_everybody(visit, at, path, dark, width):
    """axe-core finds no violation, and no element is wider than the screen."""
    page = visit(at.url + path, dark=dark, width=width)
    for one in page.query_selector_all("details"):
        one.evaluate("one => one.open = true")

    found = Axe().run(page, options=RULES)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    assert page.evaluate("document.documentElement.lang") == "en"


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_pages_of_very_many_and_of_none(visit, width):
    """Pages pass the same checks with too many sites for one page, and with no sites or past."""
    many = states.board(*(states.up(f"site-{number}" + "x" * 80) for number in range(300)))
    for board in (many, states.board()):
        with served(board, FakeHistory()) as found:
            for path in ("/", "/?page=2", "/status"):
                page = visit(found.url + path, width=width)
                report = Axe().run(page, options=RULES)
                assert report.violations_count == 0, report.generate_report()
                assert page.evaluate("document.scrollingElement.scrollWidth") <= width


def test_dark_is_dark(visit, at):
    """The page shows the colour scheme that the system asks for."""

    def ground(dark):
        page = visit(at.url + "/status", dark=dark)
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(", ")))

    assert ground(dark=True) < 100
    assert ground(dark=False) > 700


def test_without_scripts_everything_is_there(visit, at):
    """A browser that runs no scripts shows the same page, and its links work."""
    page = visit(at.url + "/", javascript=False)
    assert page.locator("td.site a[href^='sites/']").count() == len(demo.board().entries())

    page.get_by_role("link", name="checkout", exact=True).click()
    assert page.get_by_role("heading", level=1).inner_text() == "checkout"
    assert page.locator("svg.chart").count() == 3
    page.get_by_role("link", name="all sites").click()
    page.get_by_role("searchbox").fill("images")
    page.get_by_role("button", name="Search").click()
    assert page.locator("td.site a[href^='sites/']").all_inner_texts() == ["images-2", "images-10"]


def focused(page):
    """Return which element has the focus, and whether the focus is visible."""
    return page.evaluate(
        """() => {
            const one = document.activeElement, style = getComputedStyle(one);
            const text = one.getAttribute("aria-label") || one.innerText || one.name || "";
            return [one.tagName, text.trim(), style.outlineStyle !== "none"];
        }"""
    )


@pytest.mark.parametrize("path", ["/", "/sites/checkout", "/status"])
def test_the_keyboard_alone(visit, at, path):
    """Tab reaches every link, field and detail, and the focus is always visible."""
    page = visit(at.url + path)
    wanted = page.evaluate(
        """() => [...document.querySelectorAll("a, input:not([type=hidden]), button, summary, "
            + "[tabindex='0']")].filter(one => one.checkVisibility()).length"""
    )
    reached = []
    for _ in range(wanted):
        page.keyboard.press("Tab")
        reached.append(focused(page))

    assert all(tag != "BODY" for tag, *_ in reached)
    assert all(visible for *_, visible in reached), reached
    page.keyboard.press("Tab")
    assert focused(page)[0] == "BODY"  # then the focus leaves the page


def test_the_keyboard_opens_and_follows(visit, at):
    """Enter opens a folded section, and follows a link."""
    page = visit(at.public_url + "/status")
    incident = page.locator("details").first
    incident.locator("summary").focus()
    page.keyboard.press("Enter")
    assert incident.evaluate("one => one.open")

    page = visit(at.url + "/")
    page.get_by_role("link", name="shop", exact=True).focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/sites/shop")


def test_badges_on_another_site(visit, at):
    """A page of another origin can show a badge, and its picture is complete."""
    picture = f"{at.public_url}/badges/shop/uptime/30d.svg"

    async def readme(scope, receive, send):
        await HTMLResponse(f"<img src='{picture}' alt='uptime'>")(scope, receive, send)

    server = WebServer(readme, ["127.0.0.1:0"])
    server.start()
    try:
        page = visit(f"http://{server.addresses[0]}/")
        loaded = page.locator("img").evaluate(
            "one => one.decode().then(() => [one.naturalWidth, one.naturalHeight])"
        )
    finally:
        server.stop()

    assert loaded[0] > 100
    assert loaded[1] == 20
