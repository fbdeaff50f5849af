# SPDX-License-Identifier: Apache-2.0
"""Sparse gradients as slices over NumPy."""

from __future__ import annotations

import torch

from slotwise._tables import IndexedSlices
from slotwise.torch._memory import array


def slices_of(gradient: torch.Tensor) -> IndexedSlices | None:
    """A sparse gradient as it is, without coalescing; None of a dense one."""
    if not gradient.is_sparse:
        return None
    values, ids = gradient._values(), gradient._indices()
    shape = tuple(gradient.shape)
    return IndexedSlices(
        array("gradient", "values", values), array("gradient", "ids", ids[0]), shape
    )
