"""Times the contestants of one case beside the limit, and fills the record in."""

from __future__ import annotations

from collections.abc import Mapping

from bench import check, limit
from bench.contestant import Subject, Unsupported
from bench.measure import Plan, in_turn
from bench.results import LIMIT, REFERENCE_LIMIT, Record
from bench.work import DenseWork


def _limits(work: DenseWork, threads: int) -> tuple[dict[str, Subject], dict[str, int]]:
    """The stream loops beside this work, and the bytes that one pass of each moves."""
    op, per_array = work.op, work.size * work.dtype.itemsize
    shapes = {LIMIT: (op.reads, op.writes)}
    if (op.reads, op.writes) != (4, 3):
        shapes[REFERENCE_LIMIT] = (4, 3)
    moved = {name: (r + w) * max(4, per_array // 4 * 4) for name, (r, w) in shapes.items()}
    subjects = {n: limit.stream(r, w, per_array, threads) for n, (r, w) in shapes.items()}
    return subjects, moved


def measure_time(
    subjects: Mapping[str, Subject],
    work: DenseWork,
    record: Record,
    threads: int,
    plan: Plan,
    limits: bool,
) -> None:
    """Samples of everyone in turn; refuses them if values left the normal range meanwhile."""
    everyone = dict(subjects)
    if limits:
        try:
            loops, record.limit_bytes = _limits(work, threads)
            everyone |= loops
        except Unsupported as reason:
            record.note = str(reason)
    samples = in_turn(everyone, plan)
    for name, subject in subjects.items():
        trouble = check.abnormal(subject.state(), work.dtype)
        if trouble:
            record.status, record.note = "abnormal", f"{name}: {trouble}"
            return
    record.seconds = samples.seconds
    record.extra["foreign_load"] = [round(share, 3) for share in samples.foreign]
    record.extra["discarded_rounds"] = samples.discarded
    if LIMIT in record.seconds and REFERENCE_LIMIT not in record.seconds:
        record.seconds[REFERENCE_LIMIT] = record.seconds[LIMIT]
        record.limit_bytes[REFERENCE_LIMIT] = record.limit_bytes[LIMIT]
