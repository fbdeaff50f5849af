# SPDX-License-Identifier: Apache-2.0
"""Runs of the benchmark that were never made: the load of others, and ratios, as they are given."""

from __future__ import annotations

from collections.abc import Sequence

from bench.results.records import OURS, Record, Results

BUSY = 0.08
OPS = ("ApplyAdam", "ApplyMomentum", "ApplyFtrl", "ApplyAdagrad")


def record(
    ratio: float,
    shares: Sequence[float | None],
    suite: str = "call_overhead",
    op: str = OPS[0],
    size: int = 64,
    peer: str = "tensorflow",
) -> Record:
    """A case that is ``ratio`` times as fast as a peer; ``shares``: what others took, by round."""
    made = Record(suite, f"{op}/{size}", peer, op, "float32", size, "")
    made.seconds = {OURS: [1e-6] * len(shares), peer: [ratio * 1e-6] * len(shares)}
    made.extra["foreign_load"] = list(shares)
    return made


def run(records: Sequence[Record]) -> Results:
    environment = {
        "cpu": {
            "model": "A Processor",
            "usable_cores": 2,
            "hypervisor": False,
            "caches": {},
        },
        "memory": {"total": "8 GiB", "transparent_hugepage": ""},
        "slotwise": {"version": "1.2.3"},
        "versions": {"slotwise": {}, "tensorflow": {}},
        "python": "3",
        "numpy": "2",
        "system": "",
        "libc": "",
        "stream_compiler": "",
        "stream_flags": "",
    }
    settings = {
        "threads": 2,
        "plan": {"busy": BUSY},
        "usage": {"slotwise": "", "tensorflow": ""},
        "peers": {"slotwise": {"target": "AVX2"}, "tensorflow": {}},
        "caches": "",
        "denormals": "",
    }
    return Results("2026-01-01T00:00:00", [], environment, settings, list(records))
