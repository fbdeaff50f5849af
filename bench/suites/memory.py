# SPDX-License-Identifier: Apache-2.0
"""Peak memory of one call beyond the arrays that it works on."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.measure.in_turn import Plan
from bench.results.records import OURS, Record
from bench.results.units import MI, show_bytes
from bench.results.views import THEIRS, Column, Grid, bytes_of
from bench.suites.base import Case, Options, Suite, chosen_ops
from bench.work.base import Work
from bench.work.contestant import Subject, Unsupported
from bench.work.ops import OPS

_PEAK = "peak_bytes"
_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def _status(field: str) -> int:
    """A field of the process's status, in bytes."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise Unsupported(f"the kernel does not report {field}")


def peak_beyond(subject: Subject) -> int:
    """Bytes by which the process grew at most during one call, the second on its arrays."""
    names = dict(subject.names)
    exec(subject.statement, names)
    # Else temporaries that the C library keeps from the first call would not be counted.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    try:
        _CLEAR.write_text("5")  # resets the peak
    except OSError as error:
        raise Unsupported(f"the kernel does not let us reset the peak: {error}") from None
    before = _status("VmRSS")
    exec(subject.statement, names)
    return max(0, _status("VmHWM") - before)


def _arrays(record: Record) -> str:
    """The bytes of the arrays themselves."""
    op = OPS[record.op]
    return show_bytes((op.writes + 1) * record.bytes_moved // (op.reads + op.writes))


def _most(records: Sequence[Record], contestant: str) -> str:
    return show_bytes(max(r.extra[_PEAK][contestant] for r in records))


class Memory(Suite):
    name = "memory"
    title = "Memory"
    about = "Peak memory that one call takes beyond its arrays."
    rank = 3
    has_ratios = False
    columns = (
        Column(OURS, bytes_of(_PEAK, lambda r: OURS)),
        Column(THEIRS, bytes_of(_PEAK, lambda r: r.peer)),
        Column("arrays", _arrays),
    )

    def cases(self, options: Options) -> list[Case]:
        if options.level == "targets":
            return []
        sizes = options.sizes or (4 * MI,)
        dtypes = options.dtypes or ("float32",)
        return [
            Case(self.name, op, d, s) for d in dtypes for s in sizes for op in chosen_ops(options)
        ]

    def measure(
        self,
        subjects: Mapping[str, Subject],
        work: Work,
        record: Record,
        threads: int,
        plan: Plan,
    ) -> None:
        record.extra[_PEAK] = {name: peak_beyond(s) for name, s in subjects.items()}

    def sentence(self, dtype: str, peer: str, records: Sequence[Record]) -> str:
        """The most that a call took beyond its arrays, for us and for the peer."""
        theirs = f", {peer} {_most(records, peer)}" if peer else ""
        ours = _most(records, OURS)
        return f"{self.title}, {dtype}: a call takes at most {ours} beyond its arrays{theirs}."

    def grids(self, records: Sequence[Record]) -> list[Grid]:
        peers = sorted({r.peer for r in records if r.peer})
        theirs = [_most([r for r in records if r.peer == peer], peer) for peer in peers]
        rows = [["", OURS, *peers], ["at most", _most(records, OURS), *theirs]]
        return [Grid("beyond the arrays", rows)]


SUITE = Memory()
