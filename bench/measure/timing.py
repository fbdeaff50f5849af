# SPDX-License-Identifier: Apache-2.0
"""Times the contestants of one case beside the limit, and fills the record in."""

from __future__ import annotations

from collections.abc import Mapping

from bench.measure import check, limit
from bench.measure.in_turn import Plan, in_turn
from bench.results.records import Record
from bench.work.base import Work
from bench.work.contestant import Subject, Unsupported


def _limits(work: Work, threads: int) -> dict[str, Subject]:
    """The stream loops beside this work; two names of the same loop are one subject."""
    subjects: dict[str, Subject] = {}
    seen = set()
    for name, loop in work.loops.items():
        if loop not in seen:
            subjects[name] = limit.stream(*loop, threads)
        seen.add(loop)
    return subjects


def _moved(reads: int, writes: int, bytes_per_array: int) -> int:
    return (reads + writes) * max(4, bytes_per_array // 4 * 4)


def measure_time(
    subjects: Mapping[str, Subject],
    work: Work,
    record: Record,
    threads: int,
    plan: Plan,
    limits: bool,
) -> None:
    """Samples of everyone in turn; refuses them if values left the normal range meanwhile."""
    everyone = dict(subjects)
    if limits:
        try:
            everyone |= _limits(work, threads)
            record.limit_bytes = {name: _moved(*loop) for name, loop in work.loops.items()}
        except Unsupported as reason:
            record.note = str(reason)
    samples = in_turn(everyone, plan)
    for name, subject in subjects.items():
        trouble = check.abnormal(subject.state(), work.dtype)
        if trouble:
            record.status, record.note = "abnormal", f"{name}: {trouble}"
            return
    record.seconds = samples.seconds
    record.extra["foreign_load"] = [
        None if share is None else round(share, 3) for share in samples.foreign
    ]
    record.extra["discarded_rounds"] = samples.discarded
    for name, loop in work.loops.items():
        same = next(n for n, other in work.loops.items() if other == loop)
        if same in record.seconds:
            record.seconds[name] = record.seconds[same]
