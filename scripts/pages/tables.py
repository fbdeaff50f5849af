# SPDX-License-Identifier: Apache-2.0
"""Draws the tables of the pages on performance: a chart is made of the very figures below it."""

from __future__ import annotations

import re

from bench.peers import all_peers
from bench.show import charts

_MARKED = re.compile(r"<!-- chart -->\n\n((?:\|.*\n)+)")
_FIGURE = re.compile(r"(\d[\d.]*)x")


def with_charts(markdown: str) -> str:
    """The page with a chart before each table that is marked for one."""

    def drawn(match: re.Match[str]) -> str:
        unbroken = re.sub(
            r"(?<=\d) (?=[KM]i\b)|(?<=[KM]i) (?=ids\b)", "\N{NO-BREAK SPACE}", match[1]
        )
        return f"{_chart(match[1])}\n\n{unbroken}"

    return _MARKED.sub(drawn, markdown)


def _chart(table: str) -> str:
    lines = [[cell.strip() for cell in line[1:-2].split("|")] for line in table.splitlines()]
    head, rule, *body = lines
    words = rule.index("--:")
    peers = head[words:]
    rows, above = [], [""] * words
    for line in body:
        # A cell of words that is empty says what the one above it says.
        own = [cell or above[i] for i, cell in enumerate(line[:words])]
        if line[0]:
            own = line[:words]
        is_first = own[: words - 1] != above[: words - 1]
        label = (", ".join(own) if is_first else own[-1]).replace("`", "")
        above = own
        figures = {
            peer: float(match[1])
            for peer, cell in zip(peers, line[words:], strict=True)
            if (match := _FIGURE.fullmatch(cell))
        }
        if figures:
            rows.append((label, figures))
    title = "How many times as fast as each peer slotwise is, by row of the table below"
    everyone = list(dict.fromkeys([*all_peers(), *peers]))  # other ways of ours are no peers
    svg = charts.ratio_dots(title, rows, everyone)
    return f'<div class="chart">{svg}</div>'
