# SPDX-License-Identifier: Apache-2.0
"""Programs that run as several processes, by MPI or by torch.distributed."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import psutil
import pytest

TESTS = Path(__file__).parents[1]
MARK = "SLOTWISE_TESTS_JOB"  # a variable that all processes of a job have
GRACE = 5.0  # seconds that processes have to end after another has failed

# Neither engine is a dependency, so `make test` runs without both. `make ranks` and `make torch`,
# which CI runs as well, name those that they install: their tests run, and fail if one is missing;
# those of others do not.
NEEDED = [name for name in os.environ.get("SLOTWISE_TESTS_NEED", "").split(",") if name]


def _is_left_out(engine: str) -> bool:
    return engine not in NEEDED if NEEDED else importlib.util.find_spec(engine) is None


needs_mpi = pytest.mark.skipif(
    _is_left_out("mpi4py"), reason="make ranks, which installs mpi4py, runs it"
)
needs_torch = pytest.mark.skipif(
    _is_left_out("torch"), reason="make torch, which installs PyTorch, runs it"
)
ENGINES = [
    pytest.param("mpi", marks=needs_mpi, id="mpi"),
    pytest.param("torch", marks=needs_torch, id="torch"),
]


OPEN_MPI = {  # in containers, and with more ranks than cores: other launchers have no such limits
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}


class Job:
    """A program of support/ that runs on ranks, until it has ended.

    Attributes:
        output: what all ranks wrote.
        status: of the launcher, or the largest of the ranks.
        seconds: that it took.
        orphans: processes that had not ended some seconds after a rank or the launcher failed.
    """

    def __init__(self, engine: str, ranks: int, *command: object, seconds: float = 120) -> None:
        self._mark, begin = uuid.uuid4().hex, time.monotonic()
        python = [sys.executable, "-m", *map(str, command)]
        env = {**os.environ, MARK: self._mark, "SLOTWISE_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        env["PYTHONPATH"] = os.pathsep.join([str(TESTS), *filter(None, sys.path)])
        env["PYTHONUNBUFFERED"] = "1"
        if engine == "mpi":
            env.update(OPEN_MPI)
            launcher = Path(sys.executable).with_name("mpiexec")
            starts = [([str(launcher), "-n", str(ranks), *python], env)]
        else:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                env.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free.getsockname()[1]))
            env.update(WORLD_SIZE=str(ranks), GLOO_SOCKET_IFNAME="lo")
            starts = [(python, {**env, "RANK": str(rank)}) for rank in range(ranks)]
        with tempfile.TemporaryFile("w+") as output:
            pipes = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
            started = [subprocess.Popen(line, env=each, **pipes) for line, each in starts]
            try:
                self._wait(started, begin + seconds)
            finally:
                self.orphans = self._kill_what_is_left()
            self.status = max(abs(process.wait()) for process in started)
            output.seek(0)
            self.output = output.read()
        self.seconds = time.monotonic() - begin

    def _wait(self, started: list[subprocess.Popen[bytes]], end: float) -> None:
        """Until all have ended, or one has failed: then others have some seconds more."""
        while time.monotonic() < end and any(process.poll() is None for process in started):
            if any(process.poll() for process in started):
                end = min(end, time.monotonic() + GRACE)
            time.sleep(0.02)

    def _kill_what_is_left(self) -> int:
        end, found = time.monotonic() + GRACE, self._alive()
        while found and time.monotonic() < end:
            time.sleep(0.1)
            found = self._alive()
        for process in found:
            process.kill()
        return len(found)

    def _alive(self) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return bool(process.environ().get(MARK) == self._mark)
        except psutil.Error:  # it has ended, or is another user's
            return False
