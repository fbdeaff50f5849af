# SPDX-License-Identifier: Apache-2.0
"""A program of three ranks that form groups, beside messages of their own.

mpiexec -n 3 python -m support.rank_groups mpi
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from slotwise import distributed
from slotwise.distributed import Communicator

GROUPS = [[0, 2], [1]]


def members(comm: Communicator, number: int) -> list[int]:
    """The numbers of a group's ranks in the whole."""
    found = np.empty(comm.size, np.int64)
    comm.all_gather(np.array(number), found)
    return [int(each) for each in found]


def groups_of_mpi() -> tuple[int, Any]:
    from mpi4py import MPI

    rank = MPI.COMM_WORLD.rank
    return rank, MPI.COMM_WORLD.Split(rank % 2)


def groups_of_torch() -> tuple[int, Any]:
    from torch import distributed as library

    library.init_process_group("gloo")
    groups = [library.new_group(ranks) for ranks in GROUPS]
    return library.get_rank(), groups[library.get_rank() % 2]


def main(engine: str) -> None:
    number, group = {"mpi": groups_of_mpi, "torch": groups_of_torch}[engine]()
    make = getattr(distributed, engine)
    own = GROUPS[number % 2]
    part, whole = make(group), make()
    for _ in range(3):
        assert members(whole, number) == [0, 1, 2]
        assert members(part, number) == own and part.rank == own.index(number)
    if engine == "mpi":
        exchange_beside(group, part, number)
    print("good", flush=True)


def exchange_beside(group: Any, part: Communicator, number: int) -> None:
    """Messages of the program's own, on the same group, do not mix with those of the ranks."""
    others = [rank for rank in range(group.size) if rank != group.rank]
    started = [group.isend("mine", other, tag=2) for other in others]
    members(part, number)
    assert [group.recv(source=other) for other in others] == ["mine"] * len(others)
    for each in started:
        each.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
