# SPDX-License-Identifier: Apache-2.0
"""A statement timed on ranks: processes of MPI, or where one does without it, a process apart.

Rank 0 has the orders, and passes them on. The other ranks sleep while they wait for one: another
contestant is being measured then.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import time
import traceback
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.measure.apart import Apart, on_path, serve
from bench.work.contestant import Subject, Unsupported
from bench.work.ranks import SIMULATED, RanksWork, here

_MODULE, _WITH_MPI = "bench.measure.ranks", "mpi"
_PAUSE_S = 0.002

# One thread for each rank; gloo stays on this machine; no warnings of more ranks than cores.
_ENVIRONMENT = {
    "SLOTWISE_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "GLOO_SOCKET_IFNAME": "lo",
    "PYTHONWARNINGS": "ignore",
}

# For ranks that are threads: have glibc keep freed memory for the next arrays, as it does in a
# process of one thread. Else it may give a thread's back, and each step has to ask for new pages.
_OF_THREADS = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),  # the most that it takes
    "MALLOC_TRIM_THRESHOLD_": str(16 << 30),
}


def _launcher(ranks: int) -> list[str]:
    if importlib.util.find_spec("mpi4py") is None:
        raise Unsupported("mpi4py is not installed")
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        raise Unsupported("there is no mpiexec, neither beside Python nor on the path")
    return [found, "-n", str(ranks)]


class Job(Apart):
    """Processes that do the work; they end with the last who asks them for something."""

    def __init__(self, work: RanksWork) -> None:
        if work.needs_torch and importlib.util.find_spec("torch") is None:
            raise Unsupported("torch is not installed")
        launcher = _launcher(work.ranks) if work.needs_mpi else []
        environment = {**os.environ, **_ENVIRONMENT}
        if work.call == SIMULATED:
            environment |= _OF_THREADS
        environment["PYTHONPATH"] = on_path(*filter(None, [os.environ.get("PYTHONPATH")]))
        module = [_MODULE, *([_WITH_MPI] if launcher else [])]
        super().__init__(work.engine, module, environment, launcher)
        self.about = self.ask(threads=1)
        self.statement: str = self.ask(prepare=work.given)["statement"]


def on_ranks(work: RanksWork) -> Subject:
    """The statement of the work, on as many ranks as it has."""
    job = Job(work)
    subject = Subject(job.statement, {"job": job}, job.state, elsewhere=job)
    weakref.finalize(subject, job.close)
    return subject


def _orders(job: Any) -> Iterator[str]:
    """What rank 0 is told, on every rank."""
    if job.rank == 0:
        for line in sys.stdin:
            _pass_on(job, line)
            yield line
        _pass_on(job, "")
        return
    while line := _next(job):
        yield line


def _pass_on(job: Any, line: str) -> None:
    for other in range(1, job.size):
        job.send(line, other)


def _next(job: Any) -> str:
    while not job.Iprobe(0):
        time.sleep(_PAUSE_S)
    line: str = job.recv(source=0)
    return line


def main() -> None:
    def start(threads: int) -> dict[str, Any]:
        import slotwise

        slotwise.set_num_threads(threads)
        return {} if job is None else {"mpi": MPI.Get_library_version().split("\n")[0].strip("\0 ")}

    job = None
    if sys.argv[1:] != [_WITH_MPI]:
        serve(start, lambda **given: here(RanksWork.of(given), None))
        return
    from mpi4py import MPI

    job = MPI.COMM_WORLD
    try:
        prepare = lambda **given: here(RanksWork.of(given), job)  # noqa: E731
        serve(start, prepare, _orders(job), job.Barrier, job.rank == 0)
    except BaseException:  # the others may wait for this rank, for ever
        traceback.print_exc()
        job.Abort(1)


if __name__ == "__main__":
    main()
