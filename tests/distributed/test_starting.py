# SPDX-License-Identifier: Apache-2.0
"""How ranks come to be: what is imported when, what is refused, and what is warned of."""

from __future__ import annotations

import os
import socket
import sys
import threading
import warnings
from typing import Any

import pytest
import slotwise
from slotwise import distributed
from slotwise.distributed import Communicator, DistributedError
from slotwise.distributed._cores import warn_if_crowded
from support.jobs import ENGINES, Job, needs_mpi, needs_torch
from support.process import python


def test_engines_are_imported_where_they_are_used() -> None:
    code = "import sys, slotwise.distributed; print({'mpi4py', 'torch'} & {*sys.modules})"
    assert python(code).stdout == "set()\n"


@pytest.mark.parametrize(("engine", "needed"), [("mpi", "mpi4py"), ("torch", "torch")])
def test_an_engine_that_is_missing(
    engine: str, needed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, needed, None)
    with pytest.raises(
        ImportError, match=rf"^{engine}: expected .*pip install 'slotwise\[{engine}\]"
    ):
        getattr(distributed, engine)()


@pytest.mark.parametrize("make", [distributed.mpi, distributed.torch])
def test_timeouts_are_checked(make: Any) -> None:
    for no_number in ("5", None, [1]):
        with pytest.raises(TypeError, match=r": timeout: expected a number of seconds"):
            make(timeout=no_number)
    for wrong in (0, -1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=r": timeout: expected a finite number above 0, got"):
            make(timeout=wrong)


def test_arguments_of_threads() -> None:
    with pytest.raises(ValueError, match=r"^in_threads: ranks: expected 1 or more, got 0"):
        distributed.in_threads(0, print)
    with pytest.raises(TypeError, match=r"^in_threads: ranks: expected an integer, got 1\.5"):
        distributed.in_threads(1.5, print)
    with pytest.raises(ValueError, match=r"^in_threads: timeout: expected a finite number"):
        distributed.in_threads(2, print, timeout=0)


@needs_mpi
def test_what_is_no_communicator_of_mpi() -> None:
    from mpi4py import MPI

    for wrong in (3, MPI.COMM_NULL, MPI):
        with pytest.raises(TypeError, match=r"^mpi: comm: expected an intracommunicator of mpi4py"):
            distributed.mpi(wrong)


@needs_torch
def test_what_is_no_group_of_torch() -> None:
    with pytest.raises(TypeError, match=r"^torch: group: expected a group of torch\.distributed"):
        distributed.torch(3)


@pytest.mark.parametrize("engine", ENGINES)
def test_groups_of_processes(engine: str) -> None:
    job = Job(engine, 3, "support.rank_groups", engine)
    assert (job.status, job.output.count("good")) == (0, 3), job.output


@pytest.mark.parametrize("engine", ENGINES)
def test_a_program_that_nothing_started_is_one_rank(engine: str) -> None:
    code = f"""if True:
        from slotwise import distributed
        comm = distributed.{engine}()
        comm.barrier()
        print(comm.rank, comm.size, distributed.any(comm, True))
    """
    assert python(code).stdout == "0 1 True\n"
    text = "expected 4 ranks, as SLURM_STEP_NUM_TASKS says, got 1: was "
    assert text in python(code, SLURM_STEP_NUM_TASKS="4").stderr


# ----- threads that fail -------------------------------------------------------------------------


def test_an_exception_is_raised_here_and_named_there() -> None:
    said: list[str] = []

    def work(comm: Communicator) -> None:
        if comm.rank == 2:
            raise KeyError("no such table")
        with pytest.raises(DistributedError) as error:
            comm.barrier()
        said.append(str(error.value))

    with pytest.raises(KeyError, match="no such table"):
        distributed.in_threads(3, work)
    assert said == ["barrier: rank 2: KeyError: 'no such table'"] * 2


def test_a_thread_that_ends_early_is_named() -> None:
    def work(comm: Communicator) -> None:
        for _ in range(3 - comm.rank):
            comm.barrier()

    with pytest.raises(DistributedError, match=r"^barrier: rank 1 has ended$"):
        distributed.in_threads(2, work)


# ----- warnings -----------------------------------------------------------------------------------


def warned(monkeypatch: pytest.MonkeyPatch, cores: list[set[int]], hosts: str, threads: int) -> Any:
    """What ranks on hosts warn of that may use sets of cores."""
    of_thread = threading.local()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: cores[of_thread.rank])
    monkeypatch.setattr(socket, "gethostname", lambda: hosts[of_thread.rank])
    monkeypatch.setattr(slotwise._runtime, "get_num_threads", lambda: threads)

    def work(comm: Any) -> None:
        of_thread.rank = comm.rank
        warn_if_crowded(comm)

    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        distributed.in_threads(len(cores), work)
    return [str(each.message) for each in found]


def test_threads_for_which_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    assert warned(monkeypatch, [{0, 1, 2, 3}] * 2, "aa", 2) == []
    assert warned(monkeypatch, [{0}, {1}, {2}], "aaa", 1) == []  # each has its own
    assert warned(monkeypatch, [{0, 1}] * 2, "ab", 2) == []
    assert warned(monkeypatch, [{0, 1}], "a", 7) == []  # one rank, as it was told


def test_more_threads_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first rank of each host warns."""
    assert warned(monkeypatch, [{0, 1, 2, 3}] * 2, "aa", 4) == [
        "2 ranks on this host have 8 threads for 4 cores: set SLOTWISE_NUM_THREADS=2"
    ]
    text = "start at most 2 here, with SLOTWISE_NUM_THREADS=1"
    assert warned(monkeypatch, [{0, 1}] * 3, "aaa", 1) == [
        f"3 ranks on this host have 3 threads for 2 cores: {text}"
    ]
    assert len(warned(monkeypatch, [{0, 1}] * 5, "aabbc", 2)) == 2
