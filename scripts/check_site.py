# SPDX-License-Identifier: Apache-2.0
"""Check a site that was built: every link leads somewhere, and nothing comes from elsewhere.

python scripts/check_site.py build/site

mkdocs checks the links of the sources. This reads what browsers get: what templates, docstrings and
drawings link to as well, and that no page loads anything from elsewhere.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a page loads by itself, and where it says so.
_LOADED = {
    ("img", "src"),
    ("script", "src"),
    ("iframe", "src"),
    ("source", "src"),
    ("link", "href"),
}
_METADATA = {"canonical", "prev", "next"}


class Page(HTMLParser):
    """Anchors, links and what is loaded."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.without_text: list[str] = []  # pictures without an alternative
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag == "img" and not found.get("alt"):
            self.without_text.append(found.get("src", ""))
        for name, value in found.items():
            is_metadata = tag == "link" and found.get("rel") in _METADATA
            if (tag, name) in _LOADED and not is_metadata:
                self.loaded.append(value)


def problems(site: Path) -> list[str]:
    """What is wrong with the pages below a folder, a line each."""
    pages = {path.resolve(): Page(path.read_text()) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        if path.name == "404.html":
            continue  # it may be shown in place of any page, so its links are from the root
        where = path.relative_to(site.resolve())
        found += [f"{where}: loads {url}" for url in page.loaded if urlsplit(url).netloc]
        found += [f"{where}: no text for {url}" for url in page.without_text]
        for url in page.links + page.loaded:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(parts.fragment)
            if not target.exists():
                found.append(f"{where}: nothing at {url}")
            elif anchor and target in pages and anchor not in pages[target].anchors:
                found.append(f"{where}: no anchor {url}")
    return found


def main() -> int:
    site = Path(sys.argv[1])
    found = problems(site)
    print(*found, sep="\n", end="\n" if found else "")
    count = sum(1 for _ in site.rglob("*.html"))
    print(f"{count} pages, {len(found)} problems")
    return 1 if found or not count else 0


if __name__ == "__main__":
    sys.exit(main())
