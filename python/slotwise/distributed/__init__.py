# SPDX-License-Identifier: Apache-2.0
"""Tables that are spread over ranks: processes of MPI or of torch.distributed, or threads."""

from slotwise.distributed._any import any
from slotwise.distributed._communicator import Communicator, DistributedError
from slotwise.distributed._dense import Shares
from slotwise.distributed._found import Found
from slotwise.distributed._local import local
from slotwise.distributed._lookups import lookup, lookup_pooled
from slotwise.distributed._mpi import mpi
from slotwise.distributed._simulated import Simulation, simulate
from slotwise.distributed._table import ShardedTable
from slotwise.distributed._threads import in_threads
from slotwise.distributed._torch import torch

__all__ = [
    "Communicator",
    "DistributedError",
    "Found",
    "ShardedTable",
    "Shares",
    "Simulation",
    "any",
    "in_threads",
    "local",
    "lookup",
    "lookup_pooled",
    "mpi",
    "simulate",
    "torch",
]
