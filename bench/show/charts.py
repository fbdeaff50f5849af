# SPDX-License-Identifier: Apache-2.0
"""Plots as SVG whose colours are CSS variables: one picture for light, dark and print."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bench.results.records import LIMIT, OURS, Record
from bench.results.views import Chart, Line

# Stand-ins that matplotlib writes into the SVG, and the variables that replace them.
_FOREGROUND, _GRID, _BACKGROUND = "#010101", "#020202", "#030303"
_OURS, _LIMIT, _LOSS = "#040404", "#050505", "#060606"
_PEERS = ("#070707", "#080808", "#090909", "#0a0a0a", "#0b0b0b", "#0c0c0c", "#0d0d0d", "#0e0e0e")
_VARIABLES = {
    _FOREGROUND: "var(--ink)",
    _GRID: "var(--grid)",
    _BACKGROUND: "var(--paper)",
    _OURS: "var(--ours)",
    _LIMIT: "var(--limit)",
    _LOSS: "var(--loss)",
    **{colour: f"var(--peer{i})" for i, colour in enumerate(_PEERS)},
}
_MARKERS = ("s", "^", "D", "v", "P", "X", "<", "o")

_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _FOREGROUND,
    "axes.labelcolor": _FOREGROUND,
    "axes.titlecolor": _FOREGROUND,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "text.color": _FOREGROUND,
    "xtick.color": _FOREGROUND,
    "ytick.color": _FOREGROUND,
    "grid.color": _GRID,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


def _svg(figure: Figure, label: str) -> str:
    """The figure as an inline element that scales with its column."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": label}):
        figure.savefig(buffer, format="svg", bbox_inches="tight", pad_inches=0.04)
    plt.close(figure)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    safe = label.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    text = text.replace("<svg", f'<svg role="img" aria-label="{safe}"', 1)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    return text


def _dress(line: Line, number: int, peers: Sequence[str]) -> dict[str, Any]:
    """Colour and marker: ours and the limit's own; a peer's the same in every chart."""
    if line.label == LIMIT:
        return {"color": _LIMIT, "linestyle": "--", "linewidth": 1.4}
    if line.label == OURS:
        return {"color": _OURS, "marker": "o", "linewidth": 2.4}
    number = (peers.index(line.label) if line.label in peers else number) % len(_PEERS)
    return {"color": _PEERS[number], "marker": _MARKERS[number], "linewidth": 1.4}


def lines(chart: Chart, peers: Sequence[str], size: tuple[float, float] = (4.6, 2.9)) -> str:
    """Values over places; numbers at the axes read 0.5, 1, 2, 5."""
    drawn = [line for line in chart.lines if line.points]
    places = sorted({place for line in drawn for place in line.points})
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(figsize=size)
        axes.set_xscale("log", base=2)
        if not chart.is_linear:
            axes.set_yscale("log")
        if chart.bound is not None:
            label = "target: at most"
            axes.axhline(chart.bound, color=_LIMIT, linestyle="--", linewidth=1.4, label=label)
        for number, line in enumerate(drawn):
            dress = _dress(line, number, peers)
            own = sorted(line.points)
            # Beside one another, so that ranges at one place can be told apart.
            aside = 1 + 0.09 * (number - (len(drawn) - 1) / 2) if line.ranges else 1.0
            for place, (low, high) in line.ranges.items():
                axes.plot([place * aside] * 2, [low, high], color=dress["color"], linewidth=1.2)
            shifted, values = [place * aside for place in own], [line.points[x] for x in own]
            axes.plot(shifted, values, **dress, markersize=5, label=line.label)
        axes.set_title(chart.title)
        axes.set_xlabel(chart.x)
        axes.set_ylabel(chart.y)
        axes.set_xticks(places, [chart.show(place) for place in places])
        axes.xaxis.set_minor_formatter(NullFormatter())
        if not chart.is_linear:
            low, high = axes.get_ylim()
            steps = (1, 2, 5) if high < 300 * low else (1,)
            axes.yaxis.set_major_locator(LogLocator(base=10, subs=steps))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        else:
            axes.set_ylim(0, 1.15 * max(chart.bound or 0.0, axes.get_ylim()[1]))
        axes.grid(axis="y", linewidth=0.6)
        if drawn:
            axes.legend(fontsize=9, loc="best")
        return _svg(figure, f"{chart.y} over {chart.x or 'size'}, {chart.title}")


def _without_common(labels: Sequence[str]) -> tuple[list[str], list[str]]:
    """What all labels say (for the title), and the labels without it."""
    split = [label.split(", ") for label in labels]
    shared = [part for part in split[0] if all(part in parts for parts in split)]
    if len(labels) < 2 or any(len(parts) == len(shared) for parts in split):
        return [], list(labels)
    return shared, [", ".join(p for p in parts if p not in shared) for parts in split]


def ratio_bars(title: str, records: Sequence[Record]) -> str:
    """How many times faster we are, case by case; whiskers are the quartiles over the pairs."""
    shared, labels = _without_common([r.label for r in records])
    title = "\n".join([title, *([", ".join(shared)] if shared else [])])
    rows = [(name, x) for name, r in zip(labels, records, strict=True) if (x := r.ratio)]
    rows.sort(key=lambda row: row[1].minima)
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(figsize=(4.6, 0.7 + 0.25 * len(rows)))
        for y, (_, ratio) in enumerate(rows):
            value, pairs = ratio.minima, ratio.pairs
            axes.barh(
                y,
                value - 1,
                left=1,
                height=0.62,
                color=_OURS if value >= 1 else _LOSS,
                alpha=0.75,
                linewidth=0,
            )
            axes.plot([pairs.low, pairs.high], [y, y], color=_FOREGROUND, linewidth=1.2)
            axes.plot([pairs.median], [y], "|", color=_FOREGROUND, markersize=7)
        axes.set_xscale("log")
        low = min([0.8, *(r.minima * 0.9 for _, r in rows), *(r.pairs.low * 0.9 for _, r in rows)])
        high = max(
            [1.5, *(r.minima * 1.1 for _, r in rows), *(r.pairs.high * 1.1 for _, r in rows)]
        )
        axes.set_xlim(low, high)
        axes.set_yticks(range(len(rows)), [name for name, _ in rows])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.axvline(1, color=_FOREGROUND, linewidth=1)
        steps = [s for s in _STEPS if low <= s <= high]
        while len(steps) > 6:  # every other one, 1 always among them
            steps = [s for i, s in enumerate(steps) if (i - steps.index(1)) % 2 == 0]
        axes.set_xticks(steps, [f"{s:g}x" for s in steps])
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(axis="x", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        axes.set_title(title)
        return _svg(figure, f"ratios, {title}".replace("\n", ", "))


def ratio_dots(
    title: str, rows: Sequence[tuple[str, Mapping[str, float]]], peers: Sequence[str]
) -> str:
    """A row of a table each, a mark for each peer: right of the line, we are faster.

    ``peers`` are all that there are, so that a peer looks the same in every chart.
    """
    rows = [(textwrap.fill(name, 32), by_peer) for name, by_peer in rows]
    values = [value for _, by_peer in rows for value in by_peer.values()]
    low, high = min(0.8, 0.8 * min(values)), max(2.0, 1.3 * max(values))
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(
            figsize=(5.8, 1.0 + 0.27 * sum(1 + name.count("\n") for name, _ in rows)),
            layout="constrained",
        )
        axes.axvspan(low, 1, color=_LOSS, alpha=0.12, linewidth=0)
        axes.axvline(1, color=_FOREGROUND, linewidth=1)
        for number, peer in enumerate(peers):
            found = [(by_peer[peer], -y) for y, (_, by_peer) in enumerate(rows) if peer in by_peer]
            dress = {**_dress(Line(peer, {}), number, peers), "linewidth": 0}
            if found:
                axes.plot(*zip(*found, strict=True), **dress, markersize=6, label=peer)
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        axes.set_yticks([-y for y in range(len(rows))], [name for name, _ in rows])
        axes.set_ylim(0.6 - len(rows), 0.6)
        axes.tick_params(axis="y", length=0)
        steps = [s for s in _STEPS if low <= s <= high]
        while len(steps) > 5:  # every other one, 1 always among them
            steps = [s for i, s in enumerate(steps) if (i - steps.index(1)) % 2 == 0]
        axes.set_xticks(steps, [f"{s:g}x" for s in steps])
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(linewidth=0.6)
        axes.set_axisbelow(True)
        columns = min(4, sum(any(peer in by for _, by in rows) for peer in peers))
        figure.legend(loc="outside upper center", ncols=columns, fontsize=9, handletextpad=0.2)
        return _svg(figure, title)


_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
