# SPDX-License-Identifier: Apache-2.0
"""Tables that are spread over ranks: processes of MPI or of torch.distributed, or threads."""

from slotwise.distributed._communicator import Communicator, DistributedError, local
from slotwise.distributed._dense import Shares
from slotwise.distributed._table import Found, ShardedTable
from slotwise.distributed._threads import in_threads

__all__ = [
    "Communicator",
    "DistributedError",
    "Found",
    "ShardedTable",
    "Shares",
    "in_threads",
    "local",
]
