# SPDX-License-Identifier: Apache-2.0
"""Optimizer updates for arrays in place, with TensorFlow's semantics, at the speed of memory."""

from slotwise import distributed, initializers, interop, optimizers, raw_ops, state
from slotwise._autodiff import GradientTape, stop_gradient
from slotwise._pooling import (
    Jagged,
    PooledSlices,
    gather_pooled,
    pooled_weight_gradient,
    split_jagged,
)
from slotwise._runtime import (
    active_target,
    get_config,
    get_num_threads,
    set_num_threads,
    set_target,
    show_config,
    targets,
)
from slotwise._tables import (
    IndexedSlices,
    RowPlan,
    coalesce,
    empty,
    full,
    gather,
    zeros,
)
from slotwise._variable import Variable
from slotwise.distributed import ShardedTable
from slotwise.optimizers._support import support_matrix
from slotwise.state import (
    CheckpointManager,
    StateError,
    load,
    load_array,
    open_table,
    save,
    save_delta,
    track,
    untrack,
)

__version__: str = get_config()["version"]

__all__ = [
    "CheckpointManager",
    "GradientTape",
    "IndexedSlices",
    "Jagged",
    "PooledSlices",
    "RowPlan",
    "ShardedTable",
    "StateError",
    "Variable",
    "__version__",
    "active_target",
    "coalesce",
    "distributed",
    "empty",
    "full",
    "gather",
    "gather_pooled",
    "get_config",
    "get_num_threads",
    "initializers",
    "interop",
    "load",
    "load_array",
    "open_table",
    "optimizers",
    "pooled_weight_gradient",
    "raw_ops",
    "save",
    "save_delta",
    "set_num_threads",
    "set_target",
    "show_config",
    "split_jagged",
    "state",
    "stop_gradient",
    "support_matrix",
    "targets",
    "track",
    "untrack",
    "zeros",
]
