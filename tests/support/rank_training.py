# SPDX-License-Identifier: Apache-2.0
"""Trains on ranks that are processes: `python -m support.rank_training mpi|torch`.

Rank 0 prints a line for each training: what became of the table, and of the variable.
"""

from __future__ import annotations

import hashlib
import sys

from slotwise import distributed, optimizers
from slotwise.distributed import Communicator
from support.ranks import Split, Training, at_random, even

TRAININGS = {
    "lazy Adagrad": Training(lambda comm: optimizers.Adagrad(0.05, sparse="lazy", comm=comm)),
    "clipped Adam": Training(lambda comm: optimizers.Adam(0.01, clipnorm=1.0, comm=comm)),
}
SPLITS: dict[str, Split] = {"even": even, "random": at_random(3)}


def lines(comm: Communicator) -> list[str]:
    found = []
    for name, training in TRAININGS.items():
        for kind, split in SPLITS.items():
            result = training.run(comm, split)
            w = hashlib.md5(result["w"].tobytes()).hexdigest()
            found.append(f"{name}, {kind}: {result['digest']} {w}")
    return found


if __name__ == "__main__":
    comm: Communicator = distributed.mpi() if sys.argv[1] == "mpi" else distributed.torch()
    for line in lines(comm):
        if comm.rank == 0:
            print("trained", line)
