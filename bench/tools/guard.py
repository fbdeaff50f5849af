# SPDX-License-Identifier: Apache-2.0
"""``python -m bench guard``: the installed build against a reference build, in turn.

Fails on a slow-down that three repeats confirm. Counts instructions too, where valgrind is to be
had: they are the same on a busy machine.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.measure.apart import Apart, on_path
from bench.results.units import show_size, show_time
from bench.tools import callgrind

# A handful of kernels: cheap and dear arithmetic, each in the caches and one out of them.
CASES: tuple[dict[str, Any], ...] = (
    {"op": "ApplyAdam", "dtype": "float32", "size": 64},
    {"op": "ApplyAdam", "dtype": "float32", "size": 16 << 10},
    {"op": "ApplyAdam", "dtype": "float32", "size": 4 << 20},
    {"op": "ApplyAdam", "dtype": "bfloat16", "size": 16 << 10},
    {"op": "ApplyMomentum", "dtype": "float32", "size": 16 << 10},
    {"op": "ApplyFtrl", "dtype": "float32", "size": 16 << 10, "override": {"lr_power": -0.6}},
    {"op": "ApplyAdagrad", "dtype": "float64", "size": 16 << 10},
)
_CALLGRIND = (
    "valgrind",
    "--tool=callgrind",
    "--instr-atstart=no",
    "--callgrind-out-file=/dev/null",
)
_PAIRS, _REPEATS, _SAMPLE_S, _GAP_S = 15, 3, 0.005, 0.025


class Build(Apart):
    """A worker process that runs one build."""

    def __init__(self, name: str, packages: Path | None, threads: int) -> None:
        super().__init__(name, ["bench.tools.worker"], os.environ | {"PYTHONPATH": _path(packages)})
        self.about = self.ask(threads=threads)

    def take(self, chunk: int) -> float:
        """A sample, after the pause and an untimed warm-up."""
        time.sleep(_GAP_S)
        self.sample(chunk, _SAMPLE_S / 4)
        return self.sample(chunk, _SAMPLE_S)


def _path(packages: Path | None) -> str:
    return on_path(*([packages] if packages else []))


@dataclass(frozen=True)
class Finding:
    """One case: time of the installed build over the reference's, a median per repeat."""

    case: dict[str, Any]
    installed: float
    reference: float
    medians: list[float]

    def slower(self, limit: float) -> bool:
        return len(self.medians) == _REPEATS and min(self.medians) > limit


def install_reference(what: str, folder: Path) -> None:
    """Builds a checkout (a folder), or installs a wheel or a released version, into ``folder``."""
    wanted = what if Path(what).exists() else f"slotwise=={what}"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    if subprocess.run([*command, "--target", str(folder), wanted], check=False).returncode:
        raise SystemExit(f"guard: cannot install the reference build from {what}")


def compare(installed: Build, reference: Build, case: dict[str, Any], limit: float) -> Finding:
    """Pairs in turn; a repeat that shows no slow-down ends the case."""
    for build in (installed, reference):
        build.ask(prepare=case)
    once = min(installed.sample(1, 0.002) for _ in range(3))
    chunk = max(1, round(_SAMPLE_S / 8 / once))
    medians: list[float] = []
    best = {installed.name: float("inf"), reference.name: float("inf")}
    for _ in range(_REPEATS):
        ratios = []
        for number in range(_PAIRS):
            order = (installed, reference) if number % 2 else (reference, installed)
            taken = {build.name: build.take(chunk) for build in order}
            best = {name: min(best[name], t) for name, t in taken.items()}
            ratios.append(taken[installed.name] / taken[reference.name])
        medians.append(statistics.median(ratios))
        if medians[-1] <= limit:
            break
    return Finding(case, best[installed.name], best[reference.name], medians)


def instructions(packages: Path | None, case: dict[str, Any]) -> float | None:
    """Instructions of one call, from callgrind, which counts nothing but the calls.

    None without valgrind, a C compiler or valgrind's headers.
    """
    library = callgrind.library()
    if shutil.which("valgrind") is None or library is None:
        return None
    # One target on every machine, one thread, and nothing that depends on time or chance.
    fixed = {"SLOTWISE_TARGET": "AVX2", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    fixed |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    fixed["PYTHONPATH"] = _path(packages)
    done = subprocess.run(
        [
            *_CALLGRIND,
            sys.executable,
            "-m",
            "bench.tools.callgrind",
            str(library),
            json.dumps(case),
        ],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **fixed},
    )
    found = re.search(r"Collected : (\d+)", done.stderr)
    return int(found.group(1)) / callgrind.CALLS if found else None


def guard(
    reference: str, threads: int, limit: float, count: bool, out: Path, console: Console
) -> int:
    """Compares, prints, stores; returns 1 if a slow-down was confirmed."""
    with tempfile.TemporaryDirectory(prefix="slotwise-guard-") as name:
        packages = Path(name)
        with console.status(f"building the reference from {reference}"):
            install_reference(reference, packages)
        findings, counts = [], {}
        with (
            Build("installed", None, threads) as installed,
            Build("reference", packages, threads) as other,
        ):
            if installed.about["file"] == other.about["file"]:
                raise SystemExit("guard: both builds are the same files")
            for case in CASES:
                with console.status(f"{case['op']} {case['dtype']} {show_size(case['size'])}"):
                    findings.append(compare(installed, other, case, limit))
                    if count and case["size"] <= 16 << 10:
                        key = f"{case['op']}/{case['dtype']}/{case['size']}"
                        counts[key] = [instructions(p, case) for p in (None, packages)]
    _show(findings, counts, limit, console)
    out.parent.mkdir(parents=True, exist_ok=True)
    rows = [vars(f) | {"slower": f.slower(limit)} for f in findings]
    out.write_text(json.dumps({"limit": limit, "cases": rows, "instructions": counts}, indent=1))
    return int(any(f.slower(limit) for f in findings))


def _show(findings: list[Finding], counts: dict[str, Any], limit: float, console: Console) -> None:
    table = Table(title=f"installed against reference; slower means over {limit:.2f} three times")
    table.add_column("case")
    for head in ("reference", "installed", "time ratio of each repeat", "instructions"):
        table.add_column(head, justify="right")
    table.add_column("")
    for finding in findings:
        case = finding.case
        pair = counts.get(f"{case['op']}/{case['dtype']}/{case['size']}", [None, None])
        ratio = f"{pair[0] / pair[1]:.3f}" if pair[0] and pair[1] else "-"
        table.add_row(
            f"{case['op']} {case['dtype']} {show_size(case['size'])}",
            show_time(finding.reference),
            show_time(finding.installed),
            " ".join(f"{m:.3f}" for m in finding.medians),
            ratio,
            "[red]slower[/]" if finding.slower(limit) else "[green]ok[/]",
        )
    console.print(table)
