# SPDX-License-Identifier: Apache-2.0
"""What a report begins with: three figures, one chart, the machine; and the short table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.results.records import LIMIT, OURS, Record, Results
from bench.results.stats import Ratio, geometric_mean
from bench.results.units import show_count, show_ratio, show_size, show_time
from bench.results.views import Brief, Chart, Grid, Line, rated
from bench.suites import all_suites

_FIGURES = 3


@dataclass(frozen=True)
class Figure:
    """A number for people: what it is of, and what it is compared with."""

    value: str
    what: str
    detail: str


def peers(results: Results) -> list[str]:
    """The peers that something was timed against, the one with the most cases first."""
    counts: dict[str, int] = {}
    for record, _ in rated(results.records):
        if record.is_against_peer:
            counts[record.peer] = counts.get(record.peer, 0) + 1
    return sorted(counts, key=lambda peer: (-counts[peer], peer))


def _briefs(results: Results) -> list[Brief]:
    found = []
    for suite in all_suites().values():
        records = results.find(suite=suite.name, status="ok")
        found += [brief for brief in suite.briefs(records) if brief.records]
    return found


def figures(results: Results) -> list[Figure]:
    """The three that say most: against the peer with the most cases, else beside the limit."""
    first = next(iter(peers(results)), "")
    found = [_figure(brief, first) for brief in _briefs(results) if brief.first]
    return [figure for figure in found if figure is not None][:_FIGURES]


def _figure(brief: Brief, peer: str) -> Figure | None:
    ratios = [x.minima for r, x in rated(brief.records) if r.peer == peer]
    shares = [100 * f.minima for r in brief.records if (f := r.fraction(LIMIT))]
    times = [t for r in brief.records if (t := r.best(OURS))]
    if ratios:
        return _of(ratios, show_ratio, brief.what, f"the speed of {peer}; ")
    if peer or not times:
        return None
    if shares:
        return _of(shares, lambda x: f"{x:.0f} %", brief.what, "of the rate of a plain loop; ")
    return _of(times, show_time, brief.what, "")


def _of(values: Sequence[float], show: Callable[[float], str], what: str, of: str) -> Figure:
    """The geometric mean of some cases."""
    span = f"{show(min(values))} to {show(max(values))}"
    detail = f"{of}{span} over {show_count(len(values), 'case')}"
    return Figure(show(geometric_mean(values)), what, detail)


def ratios_over_sizes(results: Results) -> Chart | None:
    """Times as fast as each peer by size: median and range over the ops."""
    names = [suite.name for suite in all_suites().values() if suite.is_over_sizes]
    records = [
        (r, x) for r, x in rated(results.find(dtype="float32", variant="")) if r.suite in names
    ]
    lines = []
    for peer in peers(results):
        by_size: dict[int, list[float]] = {}
        for record, ratio in records:
            if record.peer == peer:
                by_size.setdefault(record.size, []).append(ratio.minima)
        middles = {size: median(found) for size, found in by_size.items()}
        ranges = {size: (min(found), max(found)) for size, found in by_size.items()}
        lines.append(Line(peer, middles, ranges))
    if not records:
        return None
    title = "Times as fast as a peer, by size (float32): median and range over the ops"
    return Chart(title, lines, "elements", "times as fast", show_size)


def machine(results: Results) -> str:
    """Model, instruction set, and whether it was quiet or shared."""
    cpu, taken = results.environment["cpu"], results.taken_by_others
    target = results.settings["peers"].get(OURS, {}).get("target", "")
    words = [cpu["model"], f"{cpu['usable_cores']} cores", target]
    words += ["virtual machine"] if cpu["hypervisor"] else []
    if taken is None:
        words.append("quiet or shared: not known")
    else:
        how = "a quiet machine" if taken <= results.busy else "a shared machine"
        words.append(f"{how}: others took {100 * taken:.0f} % of the cores")
    return ", ".join(word for word in words if word)


def short(runs: Sequence[Results]) -> Grid:
    """A few kinds of cases by geometric mean, peers as columns; of several runs, a row for each."""
    timed = [(r, x) for results in runs for b in _briefs(results) for r, x in rated(b.records)]
    found = [p for p in dict.fromkeys(p for run in runs for p in peers(run)) if _mean(timed, p)]
    kinds = dict.fromkeys(brief.what for results in runs for brief in _briefs(results))
    rows = []
    for what in kinds:
        for results in runs:
            records = [r for b in _briefs(results) if b.what == what for r in b.records]
            cells = [_mean(rated(records), peer) for peer in found]
            if any(cells):
                target = results.settings["peers"].get(OURS, {}).get("target", "?")
                rows.append([what, *([target] if len(runs) > 1 else []), *cells])
    head = ["speed, times that of", *(["instructions"] if len(runs) > 1 else []), *found]
    return Grid("In short", [head, *rows])


def _mean(timed: Sequence[tuple[Record, Ratio]], peer: str) -> str:
    ratios = [x.minima for r, x in timed if r.peer == peer]
    return show_ratio(geometric_mean(ratios)) if ratios else ""
