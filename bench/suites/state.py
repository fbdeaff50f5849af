# SPDX-License-Identifier: Apache-2.0
"""Saving state to disk and loading it, beside a plain sequential write and read of its bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.measure.in_turn import Plan
from bench.results.records import LIMIT, OURS, Record
from bench.results.units import MI
from bench.results.views import LIMITS, TIMES, Column, bytes_of
from bench.suites.base import Case, Options, Suite
from bench.suites.memory import peak_beyond
from bench.work.base import DTYPES, Work
from bench.work.contestant import Subject
from bench.work.ops import Scalar
from bench.work.state import CALLS, StateWork, plain

NAME = "state"
PEERS = ("numpy", "safetensors")
_SIZES = {"targets": 256 * MI, "quick": 16 * MI, "full": 256 * MI}


@dataclass(frozen=True)
class StateCase(Case):
    def work(self, terms: Mapping[str, Scalar] | None = None) -> Work:
        return StateWork(call=self.op, dtype=DTYPES[self.dtype], size=self.size)


class State(Suite):
    name = NAME
    title = "State on disk"
    about = (
        "Four arrays saved until they are on the disk, and loaded from a cold page cache, into new "
        "arrays or (restore) those that are there, in the folder for temporary files. The limit is "
        "a plain sequential write or read. Only slotwise has checksums, and verifies them."
    )
    rank = 11
    asked = "state"
    limit = "a plain write or read"
    columns = (*TIMES, *LIMITS, Column("beyond arrays", bytes_of("beyond", lambda r: OURS)))
    method = "state"

    def cases(self, options: Options) -> list[Case]:
        return [
            StateCase(NAME, call, dtype, size, against=() if call == "restore" else PEERS)
            for dtype in options.dtypes or ("float32",)
            for size in options.sizes or (_SIZES[options.level],)
            for call in CALLS
            if not options.ops or call in options.ops
        ]

    def measure(
        self,
        subjects: Mapping[str, Subject],
        work: Work,
        record: Record,
        threads: int,
        plan: Plan,
    ) -> None:
        assert isinstance(work, StateWork)
        new = work.bytes_moved if work.call == "load" else 0  # the arrays that a load returns
        record.extra["beyond"] = {
            name: max(0, peak_beyond(subject) - new) for name, subject in subjects.items()
        }
        super().measure({**subjects, LIMIT: plain(work)}, work, record, threads, plan)
        record.limit_bytes = {LIMIT: work.bytes_moved}


SUITE = State()
