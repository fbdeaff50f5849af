# SPDX-License-Identifier: Apache-2.0
"""What a report says of the records of one suite: its sentence, unit, columns, tables, charts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from bench.results.records import LIMIT, Record
from bench.results.stats import geometric_mean
from bench.results.units import show_ratio, show_size
from bench.results.views import (
    LIMITS,
    OF_REFERENCE,
    TIMES,
    Brief,
    Chart,
    Column,
    Grid,
    Ratios,
    Section,
    contestants,
    rated,
)

# What people ask, a page each in docs/performance/.
QUESTIONS = ("small", "large", "sparse", "steps", "state", "ranks")


class Told:
    """The half of a suite that speaks; ``show`` asks it and knows no suite by name."""

    name = ""
    title = ""
    about = ""  # one sentence, shown above its table
    limits = False  # measure the stream loops beside it
    limit = "a plain loop with as many reads and writes"
    unit = "elements"  # what a case's size counts
    rank = 0  # the order in reports
    asked = "large"  # the one of QUESTIONS whose page has it
    has_ratios = True  # False: its records have no meaning as a peer's time over ours
    is_over_sizes = False  # one op on one array a case: part of the chart of ratios over sizes
    columns: Sequence[Column] = (*TIMES, *LIMITS, OF_REFERENCE)

    def size(self, record: Record) -> str:
        return show_size(record.size) + ("" if self.unit == "elements" else f" {self.unit}")

    def place(self, record: Record) -> str:
        """What the ratios are averaged at."""
        return self.size(record)

    def at(self, record: Record) -> str:
        return f"{record.label} at {self.size(record)}"

    def briefs(self, records: Sequence[Record]) -> list[Brief]:
        """The figures that stand for the suite in short tables; none by default."""
        return []

    def sentence(self, dtype: str, peer: str, records: Sequence[Record]) -> str:
        """One dtype against one peer (or, without one, beside the limit) in a sentence."""
        title = f"{self.title}, {dtype}"
        ratios = rated(records)
        if not ratios:
            return f"{title}, beside the limit. {self.share_of_limit(records)}".rstrip()
        means = ", ".join(f"{mean} at {place}" for place, mean in self.means(records).items())
        slower = sum(x.minima < 1 for _, x in ratios)
        outcome = (
            f"{peer} is faster in {slower} of {len(ratios)} cases"
            if slower
            else f"Faster in all {len(ratios)} cases"
        )
        text = f"{title}: {means} the speed of {peer} (geometric means). {outcome}"
        return f"{text}; least {self.least(records)}. {self.share_of_limit(records)}".rstrip()

    def means(self, records: Sequence[Record]) -> dict[str, str]:
        """Geometric means of the ratios, by place."""
        by_place: dict[str, list[float]] = {}
        for record, ratio in rated(sorted(records, key=lambda r: r.size)):
            by_place.setdefault(self.place(record), []).append(ratio.minima)
        return {place: show_ratio(geometric_mean(found)) for place, found in by_place.items()}

    def least(self, records: Sequence[Record]) -> str:
        """The smallest ratio, and of what it is."""
        record, ratio = min(rated(records), key=lambda pair: pair[1].minima)
        return f"{show_ratio(ratio.minima)} ({self.at(record)})"

    def losses(self, records: Sequence[Record]) -> list[str]:
        """The cases in which the peer is faster, most clearly first."""
        slower = sorted(((x.minima, r) for r, x in rated(records) if x.minima < 1), key=_first)
        return [f"{self.at(r)} ({show_ratio(ratio)})" for ratio, r in slower]

    def losses_to(self, records: Sequence[Record]) -> list[str]:
        """The same with the peer that each is lost to."""
        slower = sorted(((x.minima, r) for r, x in rated(records) if x.minima < 1), key=_first)
        return [f"{self.at(r)}: {show_ratio(ratio)} the speed of {r.peer}" for ratio, r in slower]

    def share_of_limit(self, records: Sequence[Record]) -> str:
        """The share of the limit's rate that the largest size reaches, in a sentence."""
        largest = max((r.size for r in records if r.fraction(LIMIT)), default=0)
        shares = [(f.minima, r) for r in records if r.size == largest and (f := r.fraction(LIMIT))]
        if not shares:
            return ""
        least, record = min(shares, key=_first)
        mean = geometric_mean(share for share, _ in shares)
        return (
            f"At {self.place(record)} it moves {100 * mean:.0f} % of the bytes per second of "
            f"{self.limit} (least {100 * least:.0f} %: {record.label})."
        )

    def question(self, record: Record) -> str:
        """The page that a case is on: what people ask who have such arrays."""
        return self.asked

    def ratios(self, records: Sequence[Record]) -> list[Ratios]:
        """For a page, dtype by dtype: a row for each place, a figure for each peer."""
        found = []
        for dtype, members in groupby(sorted(records, key=lambda r: r.dtype), lambda r: r.dtype):
            mine = list(members)
            by_peer: dict[str, list[Record]] = {}
            for record, _ in sorted(rated(mine), key=lambda pair: pair[0].size):
                by_peer.setdefault(record.peer, []).append(record)
            if not by_peer or not self.has_ratios:
                continue
            means = {peer: self.means(by_peer[peer]) for peer in by_peer}
            places = dict.fromkeys(self.place(r) for r, _ in rated(_by_size(mine)))
            rows = {
                at: {peer: mean[at] for peer, mean in means.items() if at in mean} for at in places
            }
            least = {peer: self.least(by_peer[peer]) for peer in by_peer}
            # Once, beside the peer that has most cases: the others' rounds say the same again.
            most = max(by_peer, key=lambda peer: len(by_peer[peer]))
            share = self.share_of_limit(by_peer[most])
            found.append(Ratios(dtype, rows, least, self.losses_to(mine), share))
        return found

    def grids(self, records: Sequence[Record]) -> list[Grid]:
        """Tables of its own for a page, of what is no ratio to a peer."""
        return []

    def sections(self, records: Sequence[Record]) -> list[Section]:
        """Charts: bytes per second over sizes, for each op with three sizes or more."""
        charts = []
        plain = sorted((r for r in records if not r.variant), key=_op)
        for (_, dtype), members in groupby(plain, _op):
            mine = list(members)
            if self.limits and len({r.size for r in mine}) >= 3:
                lines = contestants(mine, lambda r: r.size, lambda r, name: r.rate(name), 1e9)
                title = f"{mine[0].label}, {dtype}"
                charts.append(Chart(title, lines, "", "GB/s", show_size))
        if not charts:
            return []
        about = (
            "Bytes that the update has to read and write, per second. The dashed line is the "
            "limit: a compiled loop with the same number of reads and writes and one addition "
            "each, measured in the same rounds. Both axes are logarithmic."
        )
        return [Section("Rate over size", about, charts)]


def _first(pair: tuple[float, Record]) -> float:
    return pair[0]


def _op(record: Record) -> tuple[str, str]:
    return record.op, record.dtype


def _by_size(records: Sequence[Record]) -> list[Record]:
    return sorted(records, key=lambda r: r.size)
