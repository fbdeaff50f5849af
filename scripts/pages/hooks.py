# SPDX-License-Identifier: Apache-2.0
"""What mkdocs calls while it makes the pages (`make docs`): mkdocs.yml names this file."""

from __future__ import annotations

import posixpath
import re
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from scripts.pages import reference, tables
from scripts.pages.public import entries

# Pages for those who work on the library lie where they look for them, and are shown here too.
ROOT_PAGES = {
    "HACKING.md": "about/hacking.md",
    "CONTRIBUTING.md": "about/contributing.md",
    "CHANGELOG.md": "about/changes.md",
    "bench/README.md": "about/benchmark.md",
}
_LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)]*)?\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made, and those from outside of docs/."""
    root = posixpath.dirname(config.config_file_path)
    made = reference.pages()
    for path, place in ROOT_PAGES.items():
        with open(posixpath.join(root, path)) as file:
            made[place] = _moved(file.read(), path, place)
    for place, text in made.items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **kwargs: Any) -> str:
    """Links to pages outside of docs/ lead to where these are shown."""
    place = page.file.src_uri
    if place in ROOT_PAGES.values() or place.startswith("reference/"):
        return markdown
    if place.startswith("performance"):
        markdown = tables.with_charts(markdown)
    return _moved(markdown, f"docs/{place}", place)


def _moved(text: str, path: str, place: str) -> str:
    """The text of a file with its links as they are from the page's place."""
    home = posixpath.dirname(path)

    def link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(home, match[2]))
        shown = ROOT_PAGES.get(target) or target.removeprefix("docs/")
        if target not in ROOT_PAGES and not target.startswith("docs/"):
            return match[0]
        return f"{match[1]}{posixpath.relpath(shown, posixpath.dirname(place) or '.')}{match[3]}"

    return _LINK.sub(link, text)


def on_env(env: Any, config: MkDocsConfig, files: Files) -> Any:
    """Every public name has an entry, under its shortest name."""
    autorefs = config.plugins["autorefs"]
    missing = []
    for entry in entries():
        try:
            autorefs.get_item_url(entry.path)
        except KeyError:
            missing.append(entry.path)
    if missing:
        raise SystemExit(f"expected an entry for every public name, got none for {missing}")
    return env
