# SPDX-License-Identifier: Apache-2.0
"""What a suite says of its records, as data: columns, tables, charts. ``show`` draws them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.results.records import LIMIT, OURS, REFERENCE_LIMIT, Record
from bench.results.stats import Ratio
from bench.results.units import show_bytes, show_rate, show_ratio, show_time

THEIRS = "peer"  # the head of the column that is named after a table's peer


@dataclass(frozen=True)
class Column:
    """One figure of a record in words; None where it has none. ``tone``: good, even or bad."""

    head: str
    cell: Callable[[Record], str | None]
    tone: Callable[[Record], str] = lambda record: ""


@dataclass(frozen=True)
class Grid:
    """A table, its head first; the first columns are words, the others figures."""

    title: str
    rows: Sequence[Sequence[str]]
    note: str = ""
    words: int = 1


@dataclass(frozen=True)
class Ratios:
    """Geometric means of peers' times over ours, of one dtype, in words.

    ``means`` is by place and peer; ``least`` is the smallest ratio to each peer and its case;
    ``losses`` are the cases in which a peer is faster; ``share`` is a sentence on the limit.
    """

    dtype: str
    means: Mapping[str, Mapping[str, str]]
    least: Mapping[str, str]
    losses: Sequence[str] = ()
    share: str = ""


@dataclass(frozen=True)
class Line:
    """One line of a chart: values by place, and the range around each if there is one."""

    label: str
    points: Mapping[int, float]
    ranges: Mapping[int, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Chart:
    """Lines over places, which are drawn by powers of two.

    ``bound`` is what the values are to stay below. Such a chart begins at zero, and so does one
    that ``is_from_zero``; the others are logarithmic.
    """

    title: str
    lines: Sequence[Line]
    x: str
    y: str
    show: Callable[[int], str] = str
    bound: float | None = None
    is_from_zero: bool = False

    @property
    def is_linear(self) -> bool:
        return self.is_from_zero or self.bound is not None


@dataclass(frozen=True)
class Section:
    """Charts that are explained together."""

    title: str
    about: str
    charts: Sequence[Chart]


@dataclass(frozen=True)
class Brief:
    """Cases that one figure stands for, and what they are in a few words.

    ``first`` asks for a place among the three figures that a report begins with.
    """

    what: str
    records: Sequence[Record]
    first: bool = True


def rated(records: Iterable[Record]) -> list[tuple[Record, Ratio]]:
    """The records that have a ratio to their peer."""
    return [(r, ratio) for r in records if r.status == "ok" and (ratio := r.ratio)]


def show_pairs(ratio: Ratio) -> str:
    p = ratio.pairs
    return f"{p.median:.2f} [{p.low:.2f}, {p.high:.2f}]"


def _fraction(limit: str) -> Callable[[Record], str | None]:
    return lambda r: f"{f.minima:.2f}" if (f := r.fraction(limit)) else None


def _tone(record: Record) -> str:
    value = record.ratio.minima if record.ratio else 1.0
    return "good" if value >= 1.05 else "bad" if value < 0.95 else "even"


def _rows_rate(record: Record) -> str | None:
    rate = record.rows_rate(OURS)
    return f"{rate / 1e6:.3g}" if rate else None


def _time(record: Record, contestant: str) -> str | None:
    best = record.best(contestant)
    return None if best is None else show_time(best)


RATIO = Column("ratio", lambda r: show_ratio(x.minima) if (x := r.ratio) else None, _tone)
PAIRS = Column("pairs: median [quartiles]", lambda r: show_pairs(x) if (x := r.ratio) else None)
TIMES = (
    Column("slotwise", lambda r: _time(r, OURS)),
    Column(THEIRS, lambda r: _time(r, r.peer)),
    RATIO,
    PAIRS,
)
ROWS_RATE = Column("M rows/s", _rows_rate)
LIMITS = (
    Column("rate", lambda r: show_rate(r.rate(OURS)) if r.fraction(LIMIT) else None),
    Column("of limit", _fraction(LIMIT)),
)
OF_REFERENCE = Column("of 4r3w", _fraction(REFERENCE_LIMIT))
APART = Column("ulp apart", lambda r: f"{max(r.check.values()):.3g}" if r.check else None)
ROUNDS = Column("rounds", lambda r: str(len(r.seconds[OURS])) if OURS in r.seconds else None)


def bytes_of(extra: str, contestant: Callable[[Record], str]) -> Callable[[Record], str | None]:
    """A number of bytes that a record keeps for each contestant."""

    def cell(record: Record) -> str | None:
        found = record.extra.get(extra, {}).get(contestant(record))
        return None if found is None else show_bytes(found)

    return cell


def contestants(
    records: Sequence[Record],
    place: Callable[[Record], int],
    rate: Callable[[Record, str], float | None],
    unit: float,
) -> list[Line]:
    """The limit, every peer and, on top, us; who was measured several times counts once."""
    peers = sorted({r.peer for r in records if r.peer})
    lines = [Line(LIMIT, best_at(records, place, lambda r: rate(r, LIMIT), unit))]
    for peer in peers:
        theirs = [r for r in records if r.peer == peer]
        lines.append(Line(peer, best_at(theirs, place, lambda r: rate(r, r.peer), unit)))
    return [*lines, Line(OURS, best_at(records, place, lambda r: rate(r, OURS), unit))]


def best_at(
    records: Iterable[Record],
    place: Callable[[Record], int],
    rate: Callable[[Record], float | None],
    unit: float,
) -> dict[int, float]:
    """The best rate at each place, by its unit."""
    best: dict[int, float] = {}
    for record in records:
        found = rate(record)
        if found:
            best[place(record)] = max(best.get(place(record), 0.0), found / unit)
    return best
