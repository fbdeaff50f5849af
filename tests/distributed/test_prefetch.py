# SPDX-License-Identifier: Apache-2.0
"""Ids that travel before their lookup: on a thread of their own where an engine serves threads."""

from __future__ import annotations

import atexit
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from slotwise import distributed, optimizers
from slotwise.distributed import Communicator, DistributedError, _threads, in_threads
from support.cases import in_rows
from support.jobs import ENGINES, Job, needs_mpi
from support.rank_prefetch import FAULTS, WHOLE, table, trained


class AheadRank(_threads.ThreadRank):
    """A thread, with another one for what is done ahead."""

    _serves_threads = True


def ahead(ranks: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    return _threads.run("ahead", ranks, AheadRank, function, arguments, 60.0)


RUNS = {"at once": in_threads, "ahead": ahead}


# ----- what a lookup finds -----------------------------------------------------------------------


@in_rows(ranks=[1, 2, 5], kind=[*RUNS])
def test_the_bits_are_those_without(ranks: int, kind: str) -> None:
    expected = in_threads(ranks, trained, False)
    assert RUNS[kind](ranks, trained, True) == expected


def test_it_returns_before_another_rank_has_called_it() -> None:
    has_returned = threading.Event()

    def run(comm: Communicator) -> None:
        emb, ids = table(comm), np.array([comm.rank, 7])
        if comm.rank == 1:
            assert has_returned.wait(30)
        emb.prefetch(ids)
        has_returned.set()
        assert (emb.lookup(ids).rows == WHOLE[ids]).all()

    ahead(2, run)


def test_all_calls_wait_for_it() -> None:
    """Those of any kind, and of another table, come after it on all ranks."""

    def run(comm: Any) -> None:
        emb, other, ids = table(comm), table(comm), np.array([1, comm.rank])
        for call in (
            comm.barrier,
            emb.digest,
            emb.balance,
            lambda: other.lookup(ids),
            lambda: other.to_array([3]),
            lambda: distributed.any(comm, False),
        ):
            emb.prefetch(ids)
            if comm.rank == 0:
                comm.settle("barrier")  # (its own has ended, those of others may not)
            call()
            assert (emb.lookup(ids).rows == WHOLE[ids]).all()

    ahead(3, run)


@in_rows(kind=[*RUNS])
def test_several(kind: str) -> None:
    def run(comm: Communicator) -> None:
        emb, batches = table(comm), [np.array([comm.rank, last]) for last in range(4)]
        for ids in batches:
            emb.prefetch(ids)
        for ids in batches:
            assert (emb.lookup(ids).rows == WHOLE[ids]).all()
        assert len(emb._ahead) == 0

    RUNS[kind](3, run)


# ----- what goes wrong ---------------------------------------------------------------------------


def test_bad_ids_are_raised_by_the_next_call() -> None:
    """On all ranks, once; and they go on."""

    def run(comm: Communicator, bad: Any) -> set[str]:
        emb, ids = table(comm), np.array([1, 2])
        opt = optimizers.SGD(1.0, sparse="lazy", comm=comm)
        found, before = emb.lookup(ids), emb.digest()
        gradient = found.gradient(np.ones((2, 3), np.float32))
        said = set()
        for call in (
            lambda: opt.apply_gradients([(gradient, emb)]),
            comm.barrier,
            lambda: emb.lookup(ids),
        ):
            emb.prefetch(bad if comm.rank == 1 else ids)
            with pytest.raises(DistributedError) as error:
                call()
            said.add(str(error.value))
            assert emb.digest() == before
        opt.apply_gradients([(gradient, emb)])
        assert (emb.to_array([1]) == WHOLE[1] - comm.size).all()
        return said

    for bad, text in (
        (np.array([12, 50]), r"^rank 1: prefetch of 'emb': .*ids\[1\] = 50 is not in \[0, 50\)"),
        ("none", "^rank 1: prefetch: ids: expected"),
    ):
        results = ahead(3, run, bad)
        (said,) = set.union(*results)
        assert re.search(text, said)


def test_each_error_is_raised() -> None:
    def run(comm: Communicator) -> None:
        emb, good = table(comm), np.array([3])
        emb.prefetch(np.array([50 + comm.rank]))
        emb.prefetch(good)
        emb.prefetch(np.array([70 + comm.rank]))
        for wrong in (50, 70):
            with pytest.raises(DistributedError, match=f"rank 0: .* = {wrong} is not in"):
                comm.barrier()
        assert (emb.lookup(good).rows == WHOLE[3]).all()

    ahead(2, run)


@in_rows(kind=[*RUNS])
def test_bad_ids_of_the_lookup(kind: str) -> None:
    """What was prefetched for it is for no other, on any rank."""

    def run(comm: Communicator) -> None:
        emb, ids = table(comm), np.array([1, 2])
        for wrong in (np.array([99]), "none"):
            emb.prefetch(ids)
            with pytest.raises(DistributedError, match="rank 1: "):
                emb.lookup(wrong if comm.rank == 1 else ids)
            assert (emb.lookup(ids).rows == WHOLE[ids]).all()

    RUNS[kind](3, run)


def test_a_failure_of_the_ranks() -> None:
    def run(comm: Communicator) -> None:
        emb = table(comm)
        if comm.rank == 1:
            comm.abort("no more rows")
        else:
            emb.prefetch(np.array([1]))
        for _ in range(2):
            with pytest.raises(DistributedError, match="rank 1: no more rows"):
                comm.barrier()

    ahead(2, run)


def test_loops_that_came_apart() -> None:
    def run(comm: Any) -> None:
        emb = table(comm)
        if comm.rank == 1:
            emb.prefetch(np.array([1]))
        with pytest.raises(DistributedError, match=r"same call .*lookup of.*prefetch of 'emb'"):
            emb.lookup(np.array([1]))

    ahead(2, run)


def test_what_nothing_raised_is_said_at_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    registered: list[Callable[[], None]] = []
    monkeypatch.setattr(atexit, "register", registered.append)

    def run(comm: Any) -> None:
        emb = table(comm)
        emb.prefetch(np.array([50]))
        comm._begun[0].has_ended.wait()

    ahead(2, run)
    for say in registered:
        with pytest.warns(RuntimeWarning, match=r"rank 0: .*ids\[0\] = 50 is not in"):
            say()
    assert len(registered) == 2


def test_a_child_of_fork_is_no_rank() -> None:
    """It does not wait for a thread that it does not have."""
    has_refused = threading.Event()

    def run(comm: Any) -> None:
        emb, ids = table(comm), np.array([1])
        if comm.rank == 0:
            emb.prefetch(ids)
            while not comm._world.calls:  # its thread waits for the other rank
                time.sleep(0.001)
            comm._process -= 1
            for call in (comm.barrier, emb.digest, lambda: emb.lookup(ids)):
                with pytest.raises(RuntimeError, match="expected the process that made the comm"):
                    call()
            with pytest.raises(RuntimeError, match="ahead: expected the process that made"):
                emb.prefetch(ids)
            comm._process += 1
            has_refused.set()
        else:
            assert has_refused.wait(30)
            emb.prefetch(ids)
        assert (emb.lookup(ids).rows == WHOLE[ids]).all()

    ahead(2, run)


class Followed:
    """A communicator of a user's own, which follows the protocol, and notes who calls it."""

    def __init__(self, comm: Communicator) -> None:
        self.rank, self.size, self._comm, self.threads = comm.rank, comm.size, comm, set[int]()

    def __getattr__(self, name: str) -> Any:
        self.threads.add(threading.get_ident())
        return getattr(self._comm, name)


def test_communicators_of_others_are_called_by_no_other_thread() -> None:
    def run(comm: Communicator) -> None:
        own = Followed(comm)
        assert isinstance(own, Communicator)
        emb, ids = table(own), np.array([comm.rank, 7])
        emb.prefetch(ids)
        assert (emb.lookup(ids).rows == WHOLE[ids]).all()
        assert own.threads == {threading.get_ident()}

    ahead(2, run)


# ----- processes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_processes(engine: str) -> None:
    job = Job(engine, 2, "support.rank_prefetch", engine, "ahead")
    assert job.status == 0, job.output
    expected = in_threads(2, trained, False)[0]
    assert job.output.count(f"digest {expected}") == 4, job.output  # with and without, on each rank
    assert job.output.count("good") == 2, job.output
    assert "RuntimeWarning: rank 1: " in job.output, job.output


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_rank_that_raises(engine: str, fault: str) -> None:
    """No process waits for ever for what is done ahead, in a call or to end."""
    job = Job(engine, 2, "support.rank_prefetch", engine, fault)
    assert job.status != 0
    assert "ValueError: no such file" in job.output, job.output
    assert "waited" not in job.output, job.output
    assert job.orphans == 0


@needs_mpi
def test_an_mpi_that_serves_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPI4PY_RC_THREAD_LEVEL", "serialized")
    job = Job("mpi", 2, "support.rank_prefetch", "mpi", "at once")
    assert job.status == 0, job.output
    assert job.output.count("good") == 2, job.output
