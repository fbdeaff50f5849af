# SPDX-License-Identifier: Apache-2.0
"""A program of two ranks that look rows up whose ids were prefetched.

mpiexec -n 2 python -m support.rank_prefetch mpi ahead|"at once"|raises_before|raises_after
"""

from __future__ import annotations

import signal
import sys
import time

import numpy as np
import pytest
from slotwise import distributed, optimizers
from slotwise.distributed import Communicator, DistributedError, ShardedTable

WHOLE = np.random.default_rng(3).standard_normal((50, 3)).astype(np.float32)
PAUSE = 0.5  # seconds that rank 1 is behind


def table(comm: Communicator) -> ShardedTable:
    return ShardedTable(WHOLE.shape, name="emb", comm=comm, initializer=WHOLE)


def trained(comm: Communicator, is_prefetched: bool) -> str:
    """Each step has other ids on each rank, which are overwritten as soon as they are told."""
    emb, opt = table(comm), optimizers.Adagrad(0.1, sparse="lazy", comm=comm)
    rng = np.random.default_rng(comm.rank)
    batches = [rng.integers(0, 50, size) for size in (30, 0, 7, 30, 30)]
    told = np.empty(30, np.int64)
    for ids, following in zip(batches, [*batches[1:], None], strict=True):
        found = emb.lookup(ids)
        if is_prefetched and following is not None:
            own = told[: len(following)]
            own[:] = following
            emb.prefetch(own)
            own[:] = -1
        opt.apply_gradients([(found.gradient(np.sin(found.rows)), emb)])
    return emb.digest()


def returns_first(comm: Communicator, emb: ShardedTable, beside: Communicator) -> None:
    """On rank 0, before rank 1 has called it: that hears beside of the return."""
    ids = np.arange(comm.rank, 40)
    if comm.rank == 1:
        beside.barrier()
    emb.prefetch(ids)
    if comm.rank == 0:
        beside.barrier()
    assert (emb.lookup(ids).rows == WHOLE[ids]).all()


def interrupted(comm: Communicator, emb: ShardedTable, beside: Communicator) -> None:
    """A call that waits for what is done ahead, and was not made: the ranks go on."""
    ids = np.array([comm.rank, 7])
    if comm.rank == 0:
        emb.prefetch(ids)
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            comm.barrier()
        beside.barrier()
    else:
        beside.barrier()
        emb.prefetch(ids)
    assert (emb.lookup(ids).rows == WHOLE[ids]).all()


def waits(comm: Communicator, emb: ShardedTable) -> None:
    """It returns on no rank before all have called it."""
    comm.barrier()
    time.sleep(PAUSE * comm.rank)
    own = np.array([time.monotonic(), 0])
    emb.prefetch(np.array([comm.rank]))
    own[1] = time.monotonic()
    found = np.empty((comm.size, 2))
    comm.all_gather(own, found)
    assert found[:, 1].min() >= found[:, 0].max()


def raises_before(comm: Communicator, emb: ShardedTable) -> None:
    """Rank 1 ends; rank 0 has told it of ids."""
    if comm.rank == 1:
        raise ValueError("no such file")
    emb.prefetch(np.array([1]))
    comm.barrier()


def raises_after(comm: Communicator, emb: ShardedTable) -> None:
    """Rank 0 ends, which has told rank 1 of ids; rank 1 expects none."""
    if comm.rank == 0:
        emb.prefetch(np.array([1]))
        raise ValueError("no such file")
    time.sleep(4 * PAUSE)  # it has said why by then
    comm.barrier()


FAULTS = {each.__name__: each for each in (raises_before, raises_after)}


def main(engine: str, kind: str) -> None:
    comm: Communicator = getattr(distributed, engine)(timeout=60)
    emb = table(comm)
    if kind in FAULTS:
        FAULTS[kind](comm, emb)
        return
    if kind == "at once":
        waits(comm, emb)
        print("good")
        return
    beside = getattr(distributed, engine)(timeout=60)
    returns_first(comm, emb, beside)
    interrupted(comm, emb, beside)
    for is_prefetched in (False, True):
        print(f"digest {trained(comm, is_prefetched)}")
    wrong = np.array([99 * comm.rank])
    emb.prefetch(wrong)
    with pytest.raises(DistributedError, match=r"rank 1: .*ids\[0\] = 99 is not in"):
        comm.barrier()
    assert (emb.lookup(np.array([3])).rows == WHOLE[3]).all()
    emb.prefetch(wrong)  # which no call follows: it is said at the end
    print("good")


if __name__ == "__main__":
    main(*sys.argv[1:])
