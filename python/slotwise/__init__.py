"""Optimizer updates for arrays in place, with TensorFlow's semantics, at the speed of memory."""

from slotwise import raw_ops
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
    gather_pooled,
    zeros,
)

__version__: str = get_config()["version"]

__all__ = [
    "IndexedSlices",
    "RowPlan",
    "__version__",
    "active_target",
    "coalesce",
    "empty",
    "full",
    "gather",
    "gather_pooled",
    "get_config",
    "get_num_threads",
    "raw_ops",
    "set_num_threads",
    "set_target",
    "show_config",
    "targets",
    "zeros",
]
