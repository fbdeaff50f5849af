# SPDX-License-Identifier: Apache-2.0
"""A step of a small model while other work wants every core: what waiting threads cost.

Threads that spin while they wait take time from whoever else wants the core, and then wait for
whole time slices of theirs. So the step is measured as it is, with waiting that never spins
(``OMP_WAIT_POLICY=passive``) and with one thread, in turn, each in a process of its own. The policy
is OpenMP's: a build whose workers are its own does not read it, so that the first two are the same
there. One thread waits for nobody, whatever the build.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from bench.measure.apart import Apart, on_path, serve
from bench.measure.competitors import competitors, usable_cores
from bench.measure.in_turn import Plan
from bench.peers.base import Peer
from bench.peers.slotwise import PEER
from bench.results.records import OURS, Record
from bench.results.units import show_time
from bench.results.views import Column, Grid
from bench.suites.base import Case, Options, Suite
from bench.work.base import DTYPES, Work
from bench.work.contestant import Subject
from bench.work.ops import Scalar

PASSIVE, ONE_THREAD = "passive waiting", "one thread"

# Times as slow as these. OpenMP's threads that waited passively took 1.9 times one thread's time.
AT_MOST = {PASSIVE: 2.0, ONE_THREAD: 3.7}

_SIZES = (64, 64, 128, 256, 256, 512, 1024, 1024, 2048, 4096)
_TABLE, _IDS = (2000, 16), 256
_NAME = f"{len(_SIZES)} variables and a table"

# Long enough for several time slices of a competitor; many calls of a microsecond at once.
_SAMPLE_S, _CALLS, _ROUNDS = 0.1, 4, 5

# What could tell waiting threads how long to spin.
_POLICIES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@dataclass(frozen=True, kw_only=True)
class SmallModel(Work):
    """Adam on ten dense variables and, by some rows, on a table."""

    @property
    def bytes_moved(self) -> int:
        return 7 * self.dtype.itemsize * (sum(_SIZES) + _TABLE[0] * _TABLE[1])

    @property
    def loops(self) -> dict[str, tuple[int, int, int]]:
        return {}

    def subject(self) -> Subject:
        import slotwise

        rng = np.random.default_rng(self.seed)
        shapes = [*((size,) for size in _SIZES), _TABLE]
        variables = [
            slotwise.Variable(np.ones(shape, self.dtype), name=f"var{i}")
            for i, shape in enumerate(shapes)
        ]
        grads: list[Any] = [rng.uniform(0.5, 1, n).astype(self.dtype) for n in _SIZES]
        rows = rng.uniform(0.5, 1, (_IDS, _TABLE[1])).astype(self.dtype)
        grads.append(slotwise.IndexedSlices(rows, rng.integers(0, _TABLE[0], _IDS), _TABLE))
        opt = slotwise.optimizers.Adam(2.0**-10)
        names = {"opt": opt, "pairs": list(zip(grads, variables, strict=True))}
        return Subject("opt.apply_gradients(pairs)", names, lambda: [{}])


@dataclass(frozen=True)
class SharedCase(Case):
    def work(self, terms: Mapping[str, Scalar] | None = None) -> Work:
        return SmallModel(dtype=DTYPES[self.dtype])


def over(record: Record, other: str) -> float | None:
    """Our time over another's, a median of the rounds; the fastest samples would be luck here."""
    ours, theirs = record.seconds.get(OURS), record.seconds.get(other)
    if not ours or not theirs:
        return None
    return median(a / b for a, b in zip(ours, theirs, strict=True))


def _time(name: str) -> Column:
    return Column(name, lambda r: show_time(median(r.seconds[name])) if r.seconds else None)


def _over(name: str) -> Column:
    return Column(f"over {name}", lambda r: f"{x:.2f}x" if (x := over(r, name)) else None)


class Shared(Suite):
    name = "shared"
    title = "Shared cores"
    about = (
        "One apply_gradients of a small model while a busy process competes for every core: as it "
        "is, with passive waiting, and with one thread. Times are medians of the rounds."
    )
    rank = 12
    has_ratios = False
    asked = "steps"
    columns = (
        *(_time(name) for name in (OURS, PASSIVE, ONE_THREAD)),
        _over(PASSIVE),
        _over(ONE_THREAD),
    )

    def cases(self, options: Options) -> list[Case]:
        if options.ops and "Adam" not in options.ops:
            return []
        return [SharedCase(self.name, "Adam", "float32", sum(_SIZES), _NAME)]

    def takes(self, peer: Peer) -> bool:
        return False

    def subject(self, contestant: Peer, work: Work) -> Subject:
        assert isinstance(work, SmallModel)
        return work.subject()

    def measure(
        self,
        subjects: Mapping[str, Subject],
        work: Work,
        record: Record,
        threads: int,
        plan: Plan,
    ) -> None:
        usual = {name: value for name, value in os.environ.items() if name not in _POLICIES}
        usual["PYTHONPATH"] = on_path(*filter(None, [os.environ.get("PYTHONPATH")]))
        kinds = {
            OURS: (usual, threads),
            PASSIVE: ({**usual, "OMP_WAIT_POLICY": "passive"}, threads),
            ONE_THREAD: (usual, 1),
        }
        seconds: dict[str, list[float]] = {name: [] for name in kinds}
        with ExitStack() as stack:
            processes = {}
            for name, (environment, count) in kinds.items():
                process = stack.enter_context(Apart(name, ["bench.suites.shared"], environment))
                process.ask(threads=count)
                process.ask(prepare={"dtype": record.dtype})
                process.sample(_CALLS, _SAMPLE_S)  # warm
                processes[name] = process
            stack.enter_context(competitors(usable_cores()))
            for number in range(max(_ROUNDS, plan.min_rounds)):
                for name in list(kinds) if number % 2 == 0 else list(reversed(kinds)):
                    time.sleep(plan.gap_s)
                    seconds[name].append(processes[name].sample(_CALLS, _SAMPLE_S))
        record.seconds = seconds
        record.extra["competitors"] = len(usable_cores())

    def sentence(self, dtype: str, peer: str, records: Sequence[Record]) -> str:
        ratios = ", ".join(f"{_ratio(r, PASSIVE)}, {_ratio(r, ONE_THREAD)}" for r in records)
        return f"{self.title}, {dtype}: a step of {_NAME} takes {ratios}."

    def grids(self, records: Sequence[Record]) -> list[Grid]:
        head = ["", *(column.head for column in self.columns)]
        rows = [[r.label, *(column.cell(r) or "" for column in self.columns)] for r in records]
        return [Grid("float32", [head, *rows])]


def _ratio(record: Record, other: str) -> str:
    return f"{over(record, other) or 0:.2f}x the time of {other}"


def main() -> None:
    def start(threads: int) -> dict[str, Any]:
        PEER.start(threads)
        return {}

    serve(start, lambda dtype: SmallModel(dtype=DTYPES[dtype]).subject())


SUITE = Shared()

if __name__ == "__main__":
    main()
