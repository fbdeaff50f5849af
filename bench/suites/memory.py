"""Peak memory of one call beyond the arrays that it works on."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path

from bench.measure.in_turn import Plan
from bench.results.records import Record
from bench.suites.base import Case, Options, Suite, chosen_ops
from bench.work.base import Work
from bench.work.contestant import Subject, Unsupported

MI = 1 << 20

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


class Memory(Suite):
    name = "memory"
    title = "Memory"
    about = "Peak memory that one call takes beyond its arrays."
    rank = 3

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
        record.extra["peak_bytes"] = {name: peak_beyond(s) for name, s in subjects.items()}


SUITE = Memory()
