# SPDX-License-Identifier: Apache-2.0
"""Bags of ids as the extension takes them."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from slotwise import _arguments, _core

Bags: TypeAlias = tuple[NDArray[np.int64], NDArray[Any] | None, str]  # offsets, weights, mode

_MODES = ["sum", "mean", "sqrtn"]


def bags_of(
    op: str,
    ids: Any,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
    dtype: Any,
    where: str = "",
) -> Bags:
    """Offsets that end with the number of ids, weights in the type that is computed in, the mode.

    Args:
        op: what errors begin with.
        ids: an array or a `RowPlan`.
        offsets, weights, mode, include_last_offset: the caller's.
        dtype: that of the rows.
        where: what follows the arguments' names: which of several tables they are for.

    Raises:
        TypeError, ValueError: arguments that do not fit.
    """
    if not isinstance(mode, str) or mode not in _MODES:
        raise ValueError(f"{op}: mode: expected one of {_MODES}, got {_arguments.shown(mode)}")
    count = len(ids) if isinstance(ids, _core.RowPlan) else count_of(op, f"ids{where}", ids)
    name = f"offsets{where}"
    if offsets is None:
        raise TypeError(f"{op}: {name}: expected where bags begin, got None")
    given = _arguments.array(op, name, offsets)
    if given.ndim != 1 or (given.size > 0 and given.dtype.kind not in "iu"):
        raise TypeError(
            f"{op}: {name}: expected a vector of integers, "
            f"got shape {given.shape} of dtype {given.dtype}"
        )
    bounds = given.astype(np.int64)
    if not _arguments.flag_of(op, "include_last_offset", include_last_offset):
        bounds = np.append(bounds, np.int64(count))
    if bounds.size == 0 or bounds[0] != 0 or bounds[-1] != count or (np.diff(bounds) < 0).any():
        raise ValueError(
            f"{op}: {name}: expected them to ascend from 0 to at most {count}, "
            f"got {_arguments.shown(given.tolist())}"
        )
    return bounds, _factors(op, f"weights{where}", weights, count, dtype), mode


def count_of(op: str, name: str, ids: Any) -> int:
    array = _core.as_array(op, name, ids)
    if array.ndim != 1:
        raise ValueError(f"{op}: {name}: expected rank 1, got rank {array.ndim}")
    return int(array.size)


def _factors(op: str, name: str, weights: Any, count: int, dtype: Any) -> NDArray[Any] | None:
    if weights is None:
        return None
    kind = np.float64 if dtype == np.float64 else np.float32
    factors = _arguments.array(op, name, weights, kind)
    if factors.shape != (count,):
        raise ValueError(f"{op}: {name}: expected shape ({count},) like ids, got {factors.shape}")
    return np.ascontiguousarray(factors)


def op_bags(
    op: str,
    var: Any,
    indices: Any,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
) -> Bags:
    """The bags of an op on rows of ``var``."""
    dtype = _core.as_array(op, "var", var).dtype
    return bags_of(op, indices, offsets, weights, mode, include_last_offset, dtype)
