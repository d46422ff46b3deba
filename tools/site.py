"""
``mkdocs build --strict``: what the documentation site needs beyond docs/, as a hook of MkDocs.

The README, the changelog and the other pages at the root of the repository become pages of the
site. Links lead from one to the other on the site as they do in the repository: to pages, to copies
of files such as those in config/, and folders stay names. The build fails if a page fetches
anything from elsewhere, so that reading the documentation tells nobody about the reader.
"""

import posixpath
import re
from pathlib import Path
from urllib.parse import urlsplit

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
ROOT_PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
"""Pages at the root of the repository, and what they are called on the site."""

_LINK = re.compile(
    r"(!?\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\])"
    r"\((?P<path>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)"
)
_FETCHED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*?\bsrc=["']?(?P<src>[^"'\s>]+)"""
    r"""|<link\b[^>]*?\bhref=["']?(?P<href>[^"'\s>]+)"""
)
_FETCHED_BY_STYLE = re.compile(r"(?:@import|url\()\s*[\"']?(?:https?:)?//")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages at the root of the repository, and the files that pages link to."""
    for name, uri in ROOT_PAGES.items():
        files.append(File.generated(config, uri, content=(ROOT / name).read_text()))
    linked = {
        target
        for file in files.documentation_pages()
        for link in _LINK.finditer(file.content_string)
        if (target := _target(file.src_uri, link["path"])) and _is_copied(target)
    }
    for target in sorted(linked):
        source = str(ROOT / target)
        files.append(File.generated(config, _copy(target), abs_src_path=source))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let each link lead to what the site has in the place of what it names."""
    here = page.file.src_uri

    def replaced(link: re.Match[str]) -> str:
        target = _target(here, link["path"])
        if target is None:
            return link.group()
        if (ROOT / target).is_dir():
            return link["text"]
        if target in ROOT_PAGES:
            uri = ROOT_PAGES[target]
        elif target.startswith("docs/"):
            uri = target.removeprefix("docs/")
        else:
            uri = _copy(target)
        path = posixpath.relpath(uri, posixpath.dirname(here) or ".")
        return f"{link[1]}({path}{link['anchor'] or ''})"

    return _LINK.sub(replaced, markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Look through what was built for anything that a browser would fetch from elsewhere."""
    site = Path(config.site_dir)
    found = []
    for page in sorted(site.rglob("*.html")):
        for match in _FETCHED.finditer(page.read_text()):
            url = match["src"] or match["href"]
            if urlsplit(url).netloc:
                found.append(f"{page.relative_to(site)} fetches {url}")
    found.extend(
        f"{sheet.relative_to(site)} fetches something from elsewhere"
        for sheet in sorted(site.rglob("*.css"))
        if _FETCHED_BY_STYLE.search(sheet.read_text())
    )
    if found:
        raise PluginError("\n".join(found))


def _target(here: str, path: str) -> str | None:
    """Return what a link on a page leads to, as a path in the repository; None outside it."""
    if urlsplit(path).scheme:
        return None
    names = {uri: name for name, uri in ROOT_PAGES.items()}
    source = names.get(here, f"docs/{here}")
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    return target if (ROOT / target).exists() else None


def _is_copied(target: str) -> bool:
    return target not in ROOT_PAGES and not target.startswith("docs/") and (ROOT / target).is_file()


def _copy(target: str) -> str:
    """Return where the site has a file of the repository; as text, so that browsers show it."""
    return f"repository/{target.lstrip('.')}.txt"  # MkDocs leaves out what begins with a dot
