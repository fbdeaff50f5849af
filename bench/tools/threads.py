# SPDX-License-Identifier: Apache-2.0
"""Thread scaling: some updates once per number of threads, each in a process of its own.

Most libraries fix their number of threads when they start, so one process cannot vary it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from bench.results import records as store

SUITE = "threads"
OPS = ("ApplyAdam", "ApplyMomentum", "SparseApplyAdagradV2")
SIZES = ("256Ki", "16Mi")


def counts() -> list[int]:
    """1, 2, 4, ... and the number of usable cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = cores or 1
    found = [1]
    while found[-1] * 2 <= cores:
        found.append(found[-1] * 2)
    return found if found[-1] == cores else [*found, cores]


def measure(results: store.Results, path: Path, arguments: list[str], console: Console) -> bool:
    """Adds the records of the suite ``threads``; returns False if a run was interrupted."""
    for count in counts():
        variant = f"{count} thread{'s' if count > 1 else ''}"
        if any(r.extra.get("threads") == count for r in results.find(suite=SUITE)):
            continue
        console.print(f"thread scaling: {variant}")
        with tempfile.TemporaryDirectory(prefix="slotwise-threads-") as folder:
            what = ["--suite", "dense", "sparse", "--op", *OPS, "--size", *SIZES]
            what += ["--threads", str(count)]
            done = subprocess.run(
                [sys.executable, "-m", "bench", *what, "--out", folder, "--plain", *arguments],
                check=False,
            )
            if done.returncode == 130:
                return False
            file = Path(folder) / store.FILE_NAME
            if not file.exists():
                console.print(f"[red]the run with {variant} failed[/]")
                continue
            for record in store.load(file).records:
                record.suite, record.case = SUITE, f"{variant}/{record.case}"
                record.variant = ", ".join(v for v in (variant, record.variant) if v)
                record.extra["threads"] = count
                results.records.append(record)
        results.save(path)
    return True
