"""Plots as SVG whose colours are CSS variables: one picture for light, dark and print."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bench.results.records import LIMIT, OURS, Record
from bench.results.units import show_size
from bench.show.summary import case_label

# Stand-ins that matplotlib writes into the SVG, and the variables that replace them.
_FOREGROUND, _GRID, _BACKGROUND = "#010101", "#020202", "#030303"
_OURS, _LIMIT, _LOSS = "#040404", "#050505", "#060606"
_PEERS = ("#070707", "#080808", "#090909", "#0a0a0a", "#0b0b0b", "#0c0c0c", "#0d0d0d")
_VARIABLES = {
    _FOREGROUND: "var(--ink)",
    _GRID: "var(--grid)",
    _BACKGROUND: "var(--paper)",
    _OURS: "var(--ours)",
    _LIMIT: "var(--limit)",
    _LOSS: "var(--loss)",
    **{colour: f"var(--peer{i})" for i, colour in enumerate(_PEERS)},
}
_MARKERS = ("s", "^", "D", "v", "P", "X", "<")

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


@dataclass(frozen=True)
class Series:
    """One line of a chart: values by place."""

    label: str
    points: Mapping[int, float]
    colour: str
    marker: str | None = None
    dashed: bool = False


def rate_over_size(title: str, records: Sequence[Record], peers: Sequence[str]) -> str:
    """Bytes per second over the number of elements: ours, every peer, and the limit."""
    return _lines(
        title,
        _contestants(records, peers, lambda r: r.size, lambda r, name: r.rate(name), 1e9),
        ("", "GB/s"),
        show_size,
        f"rate over size, {title}",
    )


def rate_over_threads(title: str, records: Sequence[Record], peers: Sequence[str]) -> str:
    """Bytes per second over the number of threads: ours, every peer, and the limit."""
    return _lines(
        title,
        _contestants(
            records, peers, lambda r: r.extra["threads"], lambda r, name: r.rate(name), 1e9
        ),
        ("threads", "GB/s"),
        str,
        f"rate over threads, {title}",
    )


def rows_over_width(title: str, records: Sequence[Record], peers: Sequence[str]) -> str:
    """Rows of the gradient per second over the width of a row: ours and every peer."""
    series = _contestants(
        records, peers, lambda r: r.extra["width"], lambda r, name: r.rows_rate(name), 1e6
    )
    return _widths(title, [line for line in series if not line.dashed])


def laws(records: Sequence[Record]) -> list[str]:
    """The laws of the ids, from even to skewed."""
    return sorted({r.extra["law"] for r in records}, key=lambda law: (law != "uniform", law))


def rows_by_law(title: str, records: Sequence[Record]) -> str:
    """Our rows per second over the width, one line for each law that ids follow."""
    series = []
    for number, law in enumerate(laws(records)):
        mine = [r for r in records if r.extra["law"] == law]
        points = _best((r.extra["width"], r.rows_rate(OURS), 1e6) for r in mine)
        series.append(Series(law, points, _PEERS[number], _MARKERS[number]))
    return _widths(title, series)


def _contestants(
    records: Sequence[Record],
    peers: Sequence[str],
    place: Callable[[Record], int],
    rate: Callable[[Record, str], float | None],
    unit: float,
) -> list[Series]:
    """The limit, every peer and, on top, us; who was measured several times counts once."""

    def points(members: Iterable[Record], contestant: str) -> dict[int, float]:
        return _best((place(r), rate(r, contestant), unit) for r in members)

    series = [Series("limit", points(records, LIMIT), _LIMIT, dashed=True)]
    for number, peer in enumerate(peers):
        theirs = points((r for r in records if r.peer == peer), peer)
        marker = _MARKERS[number % len(_MARKERS)]
        series.append(Series(peer, theirs, _PEERS[number % len(_PEERS)], marker))
    return [*series, Series("slotwise", points(records, OURS), _OURS, "o")]


def _best(found: Iterable[tuple[int, float | None, float]]) -> dict[int, float]:
    """The best rate at each place, by its unit."""
    best: dict[int, float] = {}
    for place, rate, unit in found:
        if rate:
            best[place] = max(best.get(place, 0.0), rate / unit)
    return best


def _widths(title: str, series: Sequence[Series]) -> str:
    return _lines(title, series, ("elements in a row", "million rows/s"), str, title)


def _lines(
    title: str,
    series: Sequence[Series],
    axis_labels: tuple[str, str],
    show: Callable[[int], str],
    description: str,
) -> str:
    """Lines over places, both axes logarithmic, with numbers that read 0.5, 1, 2, 5."""
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(figsize=(4.6, 2.9))
        for line in series:
            if line.points:
                places = sorted(line.points)
                axes.plot(
                    places,
                    [line.points[p] for p in places],
                    "--" if line.dashed else "-",
                    color=line.colour,
                    marker=line.marker,
                    markersize=4,
                    linewidth=2.4 if line.colour == _OURS else 1.4,
                    label=line.label,
                )
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_title(title)
        axes.set_xlabel(axis_labels[0])
        axes.set_ylabel(axis_labels[1])
        places = sorted({place for line in series for place in line.points})
        axes.set_xticks(places, [show(place) for place in places])
        axes.xaxis.set_minor_formatter(NullFormatter())
        low, high = axes.get_ylim()
        steps = (1, 2, 5) if high < 300 * low else (1,)
        axes.yaxis.set_major_locator(LogLocator(base=10, subs=steps))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(axis="y", linewidth=0.6)
        axes.legend(fontsize=9, loc="best")
        return _svg(figure, description)


def growth(title: str, records: Sequence[Record], bound: float) -> str:
    """Cost of a touched row over its cost in a small table, by the size of the table."""
    rows = sorted(((r.size, g) for r in records if (g := r.growth)), key=lambda row: row[0])
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(figsize=(4.6, 2.9))
        sizes = [1 << 20, *(size for size, _ in rows)]
        axes.axhline(bound, color=_LIMIT, linestyle="--", linewidth=1.4, label="target: at most")
        low = [g.minima - min(g.minima, g.pairs.low) for _, g in rows]
        high = [max(g.minima, g.pairs.high) - g.minima for _, g in rows]
        values = [1.0, *(g.minima for _, g in rows)]
        axes.errorbar(
            sizes,
            values,
            yerr=[[0.0, *low], [0.0, *high]],
            color=_OURS,
            ecolor=_FOREGROUND,
            elinewidth=1.2,
            marker="o",
            markersize=5,
            linewidth=2.4,
            label="slotwise",
        )
        axes.set_xscale("log", base=2)
        axes.set_ylim(0, max(bound, *values, *(g.pairs.high for _, g in rows)) * 1.15)
        axes.set_xticks(sizes, [show_size(s) for s in sizes])
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("rows of the table")
        axes.set_ylabel("cost of a row, times")
        axes.set_title(title)
        axes.grid(axis="y", linewidth=0.6)
        axes.legend(fontsize=9, loc="lower right")
        return _svg(figure, title)


def _without_common(labels: Sequence[str]) -> tuple[list[str], list[str]]:
    """What all labels say (for the title), and the labels without it."""
    split = [label.split(", ") for label in labels]
    shared = [part for part in split[0] if all(part in parts for parts in split)]
    if len(labels) < 2 or any(len(parts) == len(shared) for parts in split):
        return [], list(labels)
    return shared, [", ".join(p for p in parts if p not in shared) for parts in split]


def ratio_bars(title: str, records: Sequence[Record]) -> str:
    """How many times faster we are, case by case; whiskers are the quartiles over the pairs."""
    shared, labels = _without_common([case_label(r) for r in records])
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


_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
