# SPDX-License-Identifier: Apache-2.0
"""A table over ranks: what one rank costs, what two bring, beside TorchRec's way; many simulated.

Each contestant is one process, or two of MPI, of one thread. Ranks of more machines than there are
run as threads, with clocks of their own (``slotwise.distributed.simulate``).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

import psutil

from bench.measure import check
from bench.measure.in_turn import Plan, timer
from bench.measure.load import ForeignLoad
from bench.measure.ranks import Job, on_ranks
from bench.peers.base import Peer
from bench.peers.slotwise import Otherwise
from bench.results.records import LIMIT, OURS, Record, otherwise
from bench.results.stats import Ratio
from bench.results.units import show_bytes, show_time
from bench.results.views import (
    LIMITS,
    ROWS_RATE,
    TIMES,
    Brief,
    Chart,
    Column,
    Grid,
    Line,
    Section,
    rated,
)
from bench.suites.base import Case, Options, Suite
from bench.work import ranks as work_of
from bench.work.base import DTYPES, Work
from bench.work.contestant import Subject, Unsupported
from bench.work.ops import Scalar
from bench.work.ranks import (
    BATCHES,
    GLOO,
    LOCAL,
    MPI,
    RESTORE,
    SAVE,
    SIMULATED,
    STEP,
    WIDTH,
    RanksWork,
)
from bench.work.state import StateWork, plain

NAME = "ranks"
ONE, TWO = "one rank", "two ranks"
WITHOUT = Otherwise(work_of.WITHOUT, engine=work_of.WITHOUT)
IN_ONE, BY_CLOCKS = otherwise("in one process"), otherwise("simulated")

MERGES, ENGINES = ("exact", "fast"), (MPI, GLOO)
ON_DISK = {SAVE: (f"by {TWO}",), RESTORE: (f"by {ONE}", "by three ranks")}
LATENCY, BANDWIDTH = 15e-6, 25e9 / 8  # seconds, and bytes per second: 25 Gb/s
RANKS = (16, 64, 128)

# Rows of the table for each rank, ids of a rank.
_SIZES = {"targets": (2_000_000, 65_536), "quick": (100_000, 8_192), "full": (2_000_000, 65_536)}


def sizes(level: str) -> tuple[int, int]:
    """Elements of a rank's gradient, and of the state that is saved: the sizes of the cases."""
    rows, count = _SIZES[level]
    return count * WIDTH, 2 * rows * WIDTH


def scaling(record: Record) -> Ratio | None:
    """Ids per second over those of one process, which has one rank's share of all."""
    alone, ours = record.seconds.get(IN_ONE), record.seconds.get(OURS)
    if not alone or not ours:
        return None
    return Ratio.of(ours, [record.extra["ranks"] * t for t in alone])


def merging(record: Record) -> float | None:
    """Bytes that would be sent if nothing were merged, over those that are."""
    extra = record.extra
    return extra["unmerged"] / extra["sent"] if "sent" in extra else None


def disagreement(record: Record, of: Callable[[Sequence[float]], float] = min) -> float | None:
    """The larger of the simulated step and the real one over the smaller."""
    real, simulated = record.seconds.get(OURS), record.seconds.get(BY_CLOCKS)
    if not real or not simulated:
        return None
    low, high = sorted((of(real), of(simulated)))
    return high / low


def busiest(record: Record, what: str) -> float | None:
    """The rank that has most of something, over the mean."""
    found = record.extra.get(what)
    return max(found) / mean(found) if found else None


@dataclass(frozen=True)
class RanksCase(Case):
    """``size`` is the number of elements of a rank's gradient, or of the state that is saved."""

    rows: int = 0
    count: int = 0
    ranks: int = 1
    engine: str = MPI
    merge: str = MERGES[0]
    is_spread: bool = False

    def work(self, terms: Mapping[str, Scalar] | None = None) -> Work:
        return RanksWork(
            dtype=DTYPES[self.dtype],
            call=self.op,
            rows=self.rows,
            count=self.count,
            ranks=self.ranks,
            engine=self.engine,
            merge=self.merge,
            is_spread=self.is_spread,
        )


def _in_extra(name: str, show: Callable[[float], str]) -> Callable[[Record], str | None]:
    return lambda r: show(r.extra[name]) if name in r.extra else None


def _best(name: str) -> Callable[[Record], str | None]:
    return lambda r: show_time(x) if (x := r.best(name)) else None


def _times(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}x"


_SCALING = Column("scaling", lambda r: _times(x.minima) if (x := scaling(r)) else None)
_EXCHANGE = (
    Column("exchange", _in_extra("exchange", show_time)),
    Column("waiting", _in_extra("waiting", show_time)),
    Column("sent", _in_extra("sent", lambda x: show_bytes(round(x)))),
    Column("unmerged", lambda r: _times(merging(r))),
)
_CLOCKS = Column("simulated", _best(BY_CLOCKS))
_BUSIEST = (
    Column("busiest, ids", lambda r: _times(busiest(r, "ids_by_rank"))),
    Column("busiest, bytes", lambda r: _times(busiest(r, "bytes_by_rank"))),
)


class Ranks(Suite):
    name = NAME
    title = "Ranks"
    about = (
        f"A lookup and a step of Adagrad on a table of rows of {WIDTH} float32 that is spread over "
        "ranks, each of one thread: on one rank beside no ranks at all; on two, with twice the "
        "table, beside one process (scaling: ids per second over its) and beside TorchRec's way by "
        "torch's operations, all-to-all of ids and rows that are not merged; on many that are "
        "simulated. Saving by two ranks and loading by other numbers of them, beside a plain write "
        "or read. Exchange is what calls of the communicator take from when the last rank is "
        "there, waiting what the ranks wait for it. Sizes are the elements of a rank's gradient, "
        "or of the state."
    )
    rank = 10
    asked = "ranks"
    limit = "a plain write or read"
    columns = (
        *TIMES,
        Column("one process", _best(IN_ONE)),
        _SCALING,
        ROWS_RATE,
        *_EXCHANGE,
        _CLOCKS,
        Column("apart from real", lambda r: _times(disagreement(r))),
        *_BUSIEST,
        *LIMITS,
    )
    method = "ranks"

    def cases(self, options: Options) -> list[Case]:
        if options.dtypes and "float32" not in options.dtypes:
            return []
        rows, usual = _SIZES[options.level]
        merges = MERGES[:1] if options.level == "quick" else MERGES
        machines = RANKS[:1] if options.level == "quick" else RANKS
        found: list[Case] = []
        for count in [size // WIDTH for size in options.sizes] or [usual]:
            size = count * WIDTH
            one = RanksCase(
                NAME, STEP, "float32", size, against=(), rows=rows, count=count, engine=LOCAL
            )
            two = replace(one, rows=2 * rows, ranks=2, engine=MPI)
            for merge in merges:
                beside = replace(one, merge=merge, beside=(WITHOUT,))
                found.append(replace(beside, variant=f"{ONE}, {merge}"))
                found.append(replace(two, variant=f"{TWO}, {merge}", merge=merge))
            for engine in ENGINES:
                spread = replace(two, engine=engine, is_spread=True, against=("torch", "fbgemm"))
                found.append(replace(spread, variant=f"{TWO} by {engine}"))
            found.append(replace(two, op=SIMULATED, variant=TWO))
            many = replace(two, op=SIMULATED, rows=rows)
            found += [replace(many, variant=f"{ranks} ranks", ranks=ranks) for ranks in machines]
            state = replace(one, size=2 * rows * WIDTH)
            (by_two,), (by_one, by_three) = ON_DISK.values()
            found += [
                replace(state, op=SAVE, variant=by_two, ranks=2, engine=MPI),
                replace(state, op=RESTORE, variant=by_one),
                replace(state, op=RESTORE, variant=by_three, ranks=3, engine=MPI),
            ]
        return [case for case in found if not options.ops or case.op in options.ops]

    def subject(self, contestant: Peer, work: Work) -> Subject:
        assert isinstance(work, RanksWork)
        if work.call == SIMULATED and work.bytes_needed > 0.8 * psutil.virtual_memory().available:
            raise Unsupported(f"needs {work.bytes_needed / 2**30:.0f} GiB of memory")
        return super().subject(contestant, work)

    def place(self, record: Record) -> str:
        return record.variant

    def measure(
        self,
        subjects: Mapping[str, Subject],
        work: Work,
        record: Record,
        threads: int,
        plan: Plan,
    ) -> None:
        assert isinstance(work, RanksWork)
        job: Job = subjects[OURS].names["job"]
        record.extra |= job.about
        if work.call == SIMULATED:
            self._simulate(job, work, record, threads, plan)
        elif work.call != STEP:
            with tempfile.TemporaryDirectory(prefix="slotwise-bench-") as folder:
                if _is_restored(job, work, Path(folder) / "state", record):
                    size = work.bytes_moved // work.dtype.itemsize
                    limit = plain(StateWork(call=work.call, dtype=work.dtype, size=size))
                    everyone = {**subjects, LIMIT: limit}
                    super().measure(everyone, work, record, threads, plan)
                    record.limit_bytes = {LIMIT: work.bytes_moved}
        elif work.ranks == 1 or work.is_spread:
            super().measure(subjects, work, record, threads, plan)
        elif _is_expected(subjects[OURS], work, record):
            one = replace(work, rows=work.rows // work.ranks, ranks=1, engine=work_of.WITHOUT)
            alone = on_ranks(one)
            if _is_expected(alone, one, record):
                everyone = {**subjects, IN_ONE: alone}
                super().measure(everyone, work, record, threads, plan)
        if work.call == STEP and work.ranks > 1 and record.status == "ok":
            record.extra |= job.value("exchanged()")

    def _simulate(
        self, job: Job, work: RanksWork, record: Record, threads: int, plan: Plan
    ) -> None:
        """Steps by the ranks' clocks; of two, beside two that are real, with their network."""
        network = {"latency": LATENCY, "bandwidth": BANDWIDTH}
        if work.ranks == 2:
            real = on_ranks(replace(work, call=STEP))
            if not _is_expected(real, work, record):
                return
            network = real.names["job"].value("network()")
            super().measure({OURS: real}, work, record, threads, plan)
        load = ForeignLoad([job.processor_time])
        with load:
            how = ", ".join(f"{name}={value!r}" for name, value in network.items())
            found = job.value(f"simulated({how}, steps={2 * BATCHES})")
        record.seconds[BY_CLOCKS] = found.pop("seconds")
        record.extra.setdefault("foreign_load", []).append(load.share)
        record.extra |= network | found

    def briefs(self, records: Sequence[Record]) -> list[Brief]:
        theirs = [r for r in records if r.is_against_peer]
        return [Brief("a step on two ranks", theirs, first=False)]

    def sentence(self, dtype: str, peer: str, records: Sequence[Record]) -> str:
        """Against a peer, ratios; else what two ranks bring, and the share of a plain write."""
        if rated(records):
            return super().sentence(dtype, peer, records)
        scaled = ", ".join(f"{x.minima:.2f}x ({r.label})" for r in records if (x := scaling(r)))
        text = f"{self.title}, {dtype}"
        text += f": {TWO} have {scaled} the throughput of one process" if scaled else ""
        return f"{text}. {self.share_of_limit(records)}".rstrip()

    def share_of_limit(self, records: Sequence[Record]) -> str:
        shares = [f"{r.label}, {100 * f.minima:.0f} %" for r in records if (f := r.fraction(LIMIT))]
        return f"Of the rate of {self.limit}: {'; '.join(shares)}." if shares else ""

    def grids(self, records: Sequence[Record]) -> list[Grid]:
        own = [
            _grid(
                "Two ranks", [r for r in records if scaling(r)], [*TIMES[:1], _SCALING, *_EXCHANGE]
            ),
            _grid("Many ranks", _many(records), [_CLOCKS, *_BUSIEST]),
        ]
        return [grid for grid in own if len(grid.rows) > 1]

    def sections(self, records: Sequence[Record]) -> list[Section]:
        many = _many(records)
        if not many:
            return []
        steps = {r.extra["ranks"]: 1e3 * min(r.seconds[BY_CLOCKS]) for r in many}
        about = (
            "Computed seconds are measured, those of messages are computed: "
            f"{1e6 * LATENCY:g} us for a message and {8e-9 * BANDWIDTH:g} Gb/s. The table is the "
            "same for any number of ranks; each has a batch of its own."
        )
        balance = [
            Line(what, {r.extra["ranks"]: busiest(r, f"{what}_by_rank") or 0.0 for r in many})
            for what in ("ids", "bytes")
        ]
        return [
            Section(
                "Simulated ranks",
                about,
                [
                    Chart("A step", [Line(OURS, steps)], "ranks", "ms", is_from_zero=True),
                    Chart("Busiest rank", balance, "ranks", "times the mean", is_from_zero=True),
                ],
            )
        ]


def _many(records: Sequence[Record]) -> list[Record]:
    """Simulated ranks of many machines, the fewest first."""
    found = [r for r in records if r.op == SIMULATED and r.extra["ranks"] > 2 and r.seconds]
    return sorted(found, key=lambda r: int(r.extra["ranks"]))


def _grid(title: str, records: Sequence[Record], columns: Sequence[Column]) -> Grid:
    head = [title, *(column.head for column in columns)]
    return Grid(title, [head, *([r.label, *(c.cell(r) or "" for c in columns)] for r in records)])


def _is_expected(subject: Subject, work: RanksWork, record: Record) -> bool:
    """Whether the first step does what it should."""
    timer(subject)(1)
    return check.agrees(work, subject.state(), work.expected(), record)


def _is_restored(job: Job, work: RanksWork, path: Path, record: Record) -> bool:
    """Whether two ranks save what the job loads."""
    if work.call == SAVE:
        saved = _saved(job, path)
    else:
        with Job(replace(work, call=SAVE, ranks=2, engine=MPI)) as saver:
            saved = _saved(saver, path)
        job.value(f"use({str(path)!r})")
    job.value("load()")
    if job.value("digest()") != saved:
        record.status, record.note = "wrong", "the table that is loaded is another"
    return record.status == "ok"


def _saved(job: Job, path: Path) -> str:
    """Has a job save its table; the digest of that."""
    job.value(f"use({str(path)!r})")
    job.run(1)
    digest: str = job.value("digest()")
    return digest


SUITE = Ranks()
