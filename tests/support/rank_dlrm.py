# SPDX-License-Identifier: Apache-2.0
"""Steps of the DLRM of the examples, whose folder is on the path: `python -m support.rank_dlrm`.

With the name of an attribute, rank 1 fails where its model calls that.
"""

from __future__ import annotations

import json
import sys
from typing import Any, NoReturn

import dlrm
import dlrm_ranks
import numpy as np
import torch
from slotwise import distributed, optimizers
from slotwise.distributed import Communicator

COUNTS = (9, 7, 1)  # of batches, which 3 ranks share evenly, unevenly, and so that 2 have none
RATE = 0.5  # of plain SGD, which shows the scale of gradients; Adam and Adagrad do not
SIZES = dlrm.Sizes([3, *[5] * 25], dim=4, bottom=(8,), top=(8,), seed=1)


def batches() -> list[dlrm.Batch]:
    rng = np.random.default_rng(2)
    world = dlrm.World(SIZES.rows, 3, rng)
    return [world.draw(count, rng) for count in COUNTS]


def fail(*_: Any) -> NoReturn:
    raise KeyError("no such page")


def trained(comm: Communicator, fails_at: str | None = None) -> dict[str, Any]:
    """Losses, and what became of all weights."""
    model = dlrm_ranks.OnRanks(SIZES, dlrm.Rates(), comm)
    model.of_tables = optimizers.SGD(RATE, sparse="lazy", comm=comm)
    model.of_networks = torch.optim.SGD(model.networks, RATE)
    if fails_at is not None and comm.rank == 1:
        setattr(model, fails_at, fail)
    losses = []
    for batch in batches():
        count = len(batch.clicked)
        losses.append(model.train(batch.part(dlrm_ranks.part_of(comm, count)), count))
    networks = [weight.detach().numpy() for weight in model.networks]
    for weight in networks:
        assert (dlrm_ranks.sum_of(comm, weight) == weight * comm.size).all()  # the same on all
    return {
        "losses": dlrm_ranks.sum_of(comm, np.array(losses)).tolist(),
        "tables": [table.to_array().tolist() for table in model.tables],
        "networks": [weight.tolist() for weight in networks],
    }


if __name__ == "__main__":
    comm = distributed.torch(timeout=30)
    result = trained(comm, *sys.argv[1:])
    if comm.rank == 0:
        print("trained", json.dumps(result))
