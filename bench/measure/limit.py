# SPDX-License-Identifier: Apache-2.0
"""Compiles ``stream.c`` and offers its loop as one more contestant: the limit of the memory."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.work.contestant import Subject, Unsupported

SOURCE = Path(__file__).with_name("stream.c")
FLAGS = ["-O3", "-march=native", "-fopenmp", "-shared", "-fPIC"]

# Below this many bytes per pass, waking a second thread costs more than it brings.
_PARALLEL_FROM = 1 << 18


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "slotwise-bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def compiler() -> str | None:
    return os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")


@cache
def _library() -> ctypes.CDLL:
    cc = compiler()
    if cc is None:
        raise Unsupported("no C compiler (cc) to compile the stream loop with")
    # -march=native depends on the machine, so the machine is part of the key.
    key = hashlib.sha256(
        SOURCE.read_bytes() + repr((cc, FLAGS, platform.node(), _cpu_flags())).encode()
    ).hexdigest()[:16]
    target = cache_folder() / f"stream-{key}.so"
    if not target.exists():
        partial = target.with_suffix(f".{os.getpid()}.tmp")
        done = subprocess.run(
            [*cc.split(), *FLAGS, str(SOURCE), "-o", str(partial)],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise Unsupported(f"{cc} cannot compile the stream loop: {done.stderr.strip()[:300]}")
        partial.replace(target)
    library = ctypes.CDLL(str(target))
    library.stream.restype = ctypes.c_int
    library.stream.argtypes = [
        ctypes.c_void_p,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_ssize_t,
        ctypes.c_int,
        ctypes.c_int,
    ]
    return library


def _cpu_flags() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    return next((line for line in text.splitlines() if line.startswith("flags")), "")


def _aligned(size: int, value: float) -> NDArray[np.float32]:
    raw = np.empty(size + 16, np.float32)
    start = -(raw.ctypes.data // 4) % 16
    out = raw[start : start + size]
    out[:] = value
    return out


def stream(reads: int, writes: int, bytes_per_array: int, threads: int) -> Subject:
    """The loop on float32 arrays of ``bytes_per_array``; one call is one pass.

    The array that is only read holds zeros (written ones, so they are real memory), hence values
    never change, however often the loop runs.
    """
    library = _library()
    size = max(1, bytes_per_array // 4)
    arrays = [_aligned(size, 0.0 if k >= writes else 1.0 + k) for k in range(reads)]
    pointers = (ctypes.c_void_p * 5)(*[a.ctypes.data for a in arrays])
    moved = (reads + writes) * size * 4
    used = threads if moved >= _PARALLEL_FROM else 1
    if library.stream(pointers, reads, writes, size, used, 1):
        raise Unsupported(f"no stream loop with {reads} reads and {writes} writes")

    def passes(count: int) -> None:
        library.stream(pointers, reads, writes, size, used, count)

    return Subject(
        statement=f"stream(reads={reads}, writes={writes}, n={size}, threads={used})",
        names={},
        state=lambda: [{}],
        repeat=passes,
        keep=arrays,
    )
