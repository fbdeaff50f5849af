# SPDX-License-Identifier: Apache-2.0
"""Programs that run as several processes, by MPI or by torch.distributed."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil
import pytest

TESTS = Path(__file__).parents[1]
MARK = "SLOTWISE_TESTS_JOB"  # a variable that all processes of a job have

needs_mpi = pytest.mark.skipif(
    importlib.util.find_spec("mpi4py") is None, reason="mpi4py is not installed: make ranks"
)
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed: make torch"
)
ENGINES = [
    pytest.param("mpi", marks=needs_mpi, id="mpi"),
    pytest.param("torch", marks=needs_torch, id="torch"),
]


class Job:
    """A program of support/ that runs on ranks.

    Attributes:
        output: what all ranks wrote.
        status: of the launcher, or the largest of the ranks.
        seconds: that it took.
    """

    def __init__(self, engine: str, ranks: int, *command: object, seconds: float = 120) -> None:
        self.mark, begin = uuid.uuid4().hex, time.monotonic()
        python = [sys.executable, "-m", *map(str, command)]
        env = {**os.environ, MARK: self.mark, "SLOTWISE_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        env["PYTHONPATH"] = os.pathsep.join([str(TESTS), *filter(None, sys.path)])
        if engine == "mpi":
            launcher = Path(sys.executable).with_name("mpiexec")
            starts = [([str(launcher), "-n", str(ranks), *python], {})]
        else:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
            place.update(WORLD_SIZE=str(ranks), GLOO_SOCKET_IFNAME="lo")
            starts = [(python, {**place, "RANK": str(rank)}) for rank in range(ranks)]
        started = [
            subprocess.Popen(
                line,
                env={**env, **more},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for line, more in starts
        ]
        try:
            left = begin + seconds
            outputs = [p.communicate(timeout=left - time.monotonic())[0] for p in started]
        finally:
            self.orphans = self._kill_what_is_left()
        self.output, self.status = "".join(outputs), max(abs(p.returncode) for p in started)
        self.seconds = time.monotonic() - begin

    def _kill_what_is_left(self) -> list[psutil.Process]:
        """The processes that have outlived their launcher by some seconds."""
        for _ in range(50):
            found = [p for p in psutil.process_iter() if self._is_ours(p)]
            if not found:
                break
            time.sleep(0.1)
        for process in found:
            process.kill()
        return found

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get(MARK) == self.mark
        except psutil.Error:  # it has ended, or is another user's
            return False
