# SPDX-License-Identifier: Apache-2.0
"""The machine, the system and the builds, as stored with the numbers."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.measure import limit


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip().split("\n")[0]


def _cpu() -> dict[str, Any]:
    fields: dict[str, str] = {}
    for line in _read("/proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    caches = {}
    for index in range(8):
        folder = f"/sys/devices/system/cpu/cpu0/cache/index{index}"
        kind, level, size = (_read(f"{folder}/{n}") for n in ("type", "level", "size"))
        if size and kind != "Instruction":
            caches[f"L{level}"] = size
    return {
        "model": fields.get("model name") or platform.processor() or platform.machine(),
        "flags": [
            f for f in fields.get("flags", "").split() if f.startswith(("avx", "sse", "fma"))
        ],
        "hypervisor": "hypervisor" in fields.get("flags", "").split(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "caches": caches,
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    }


def _memory() -> dict[str, str]:
    lines = dict(
        line.split(":", 1) for line in _read("/proc/meminfo").splitlines() if line.count(":") == 1
    )
    return {
        "total": f"{int(lines.get('MemTotal', '0').split()[0]) / 2**20:.1f} GiB",
        "transparent_hugepage": _read("/sys/kernel/mm/transparent_hugepage/enabled"),
    }


def _slotwise() -> dict[str, Any]:
    import slotwise

    found: dict[str, Any] = {"version": getattr(slotwise, "__version__", "?")}
    if hasattr(slotwise, "get_config"):
        found["config"] = slotwise.get_config()
    core = getattr(sys.modules.get("slotwise._core"), "__file__", None)
    if core:
        found["core_sha256"] = hashlib.sha256(Path(core).read_bytes()).hexdigest()
    return found


def capture() -> dict[str, Any]:
    """Everything a reader needs to judge the numbers; nothing that names a person or a path."""
    compiler = limit.compiler()
    return {
        "cpu": _cpu(),
        "memory": _memory(),
        "load_before": list(os.getloadavg()) if hasattr(os, "getloadavg") else [],
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "libc": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
        "numpy": metadata.version("numpy"),
        "stream_compiler": _first_line(*compiler.split(), "--version") if compiler else "",
        "stream_flags": " ".join(limit.FLAGS),
        "variables": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith(("OMP_", "GOMP_", "KMP_", "SLOTWISE_", "TF_", "XLA_", "MKL_"))
        },
        "slotwise": _slotwise(),
    }
