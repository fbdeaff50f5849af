# SPDX-License-Identifier: Apache-2.0
"""A program of ranks that saves or loads together.

    mpiexec -n 2 python -m support.rank_checkpoints mpi save FOLDER
    mpiexec -n 3 python -m support.rank_checkpoints mpi load FOLDER
    mpiexec -n 2 python -m support.rank_checkpoints mpi kill FOLDER 0 12

What is loaded is saved again, trained, and saved once more; the same was done before. At last the
state of the first is trained again and saved over another, and one rank is killed before one of its
calls of the system: both by number.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import slotwise
from slotwise import distributed, optimizers
from support.state_crash import killing

ROWS = 40_000


def job(comm: Any) -> dict[str, Any]:
    start = slotwise.initializers.Uniform(-1, 1, seed=1)
    emb = slotwise.ShardedTable((ROWS, 64), name="emb", comm=comm, initializer=start)
    w = slotwise.Variable(np.ones((30, 7), np.float32), name="w")
    slotwise.track(emb)
    optimizer = optimizers.Adagrad(0.1, sparse="lazy", comm=comm)
    return {"optimizer": optimizer, "variables": [emb, w]}


def step(comm: Any, state: dict[str, Any], number: int) -> None:
    emb, w = state["variables"]
    ids = np.random.default_rng(number).integers(0, ROWS, 500)
    found = emb.lookup(np.array_split(ids, comm.size)[comm.rank])
    dense = np.full((30, 7), comm.rank == 0, np.float32)
    state["optimizer"].apply_gradients([(found.gradient(found.rows), emb), (dense, w)])


def main(engine: str, what: str, folder: str, victim: str = "", last: str = "") -> None:
    comm, path = getattr(distributed, engine)(), Path(folder)
    state = job(comm)
    if what == "kill":
        slotwise.load(path / "save-2", **state)
        step(comm, state, 3)
        if comm.rank == int(victim):
            killing(int(last))
        slotwise.save(path / "killed", **state)
        return
    if what == "save":
        step(comm, state, 1)
        slotwise.save(path / "base", **state, verify=True)
        step(comm, state, 2)
        slotwise.save_delta(path / "delta", since=path / "base", **state)
    else:
        slotwise.load(path / "base", deltas=[path / "delta"], **state)
    slotwise.save(path / f"{what}-2", **state)
    step(comm, state, 3)
    slotwise.save(path / f"{what}-3", **state)


if __name__ == "__main__":
    main(*sys.argv[1:])
