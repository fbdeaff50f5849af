# SPDX-License-Identifier: Apache-2.0
"""Whether something is true on any rank."""

from __future__ import annotations

from typing import Any

import numpy as np

from slotwise import _arguments
from slotwise.distributed._communicator import Communicator


def any(comm: Communicator, flag: Any) -> bool:
    """Whether a flag is true on any rank; all ranks call it, and all get the same answer.

    It ends loops over data that do not end on all ranks at once: a rank that has no more goes on
    without rows until none has.

    Args:
        comm: the ranks.
        flag: of this rank.

    Raises:
        TypeError: not a communicator, or not a flag.
        DistributedError: another rank failed.

    Example:
        >>> from slotwise import distributed
        >>> distributed.in_threads(3, lambda comm: distributed.any(comm, comm.rank == 1))
        [True, True, True]
    """
    if not isinstance(comm, Communicator):
        raise _arguments.refused("any", "comm", "a communicator", comm)
    own = np.array(_arguments.flag_of("any", "flag", flag))
    found = np.empty(comm.size, np.bool_)
    comm.all_gather(own, found)
    return bool(found.any())
