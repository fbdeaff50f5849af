# SPDX-License-Identifier: Apache-2.0
"""Pooling rows of weights as a function that autograd knows, and when torch has to do it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from slotwise import _core
from slotwise._pooling import Bags, Mode, PooledSlices, pooled_weight_gradient
from slotwise.torch._gradients import PooledGradient
from slotwise.torch._memory import array, tensor_of


def is_traced() -> bool:
    """Whether torch records what is called, so that it has to be torch's own operations."""
    return bool(torch.jit.is_tracing() or torch._C._len_torch_dispatch_stack())


def require_first_derivative(op: str) -> None:
    """Raise if a backward is to be part of a graph."""
    if torch.is_grad_enabled():
        raise RuntimeError(
            f"{op}: create_graph: expected False, since the gradient of an embedding has no "
            "derivative here, got True"
        )


class Ids(NamedTuple):
    """The ids of a table, in bags.

    Attributes:
        ids: shape ``(n,)``.
        offsets: a tensor or an array.
        weights: shape ``(n,)``, floating-point.
    """

    ids: torch.Tensor
    offsets: Any
    weights: torch.Tensor | None = None


def pool(
    op: str,
    tables: Sequence[torch.Tensor],
    features: Sequence[Ids],
    mode: Mode,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> torch.Tensor:
    """Pool rows of tables by bags, beside each other.

    Args:
        op: what errors begin with.
        tables: the weights, shape ``(rows, width)``.
        features: of each table.
        mode: ``"sum"`` or ``"mean"``.
        include_last_offset: whether offsets end with the number of ids.
        padding_idx: the id that is left out of its bags.
    """
    lookups = [
        _Lookup(op, table, ids, mode, include_last_offset, padding_idx)
        for table, ids in zip(tables, features, strict=True)
    ]
    weights = [ids.weights for ids in features]
    factors = weights if any(weight is not None for weight in weights) else []
    if torch.is_grad_enabled():
        for tensor in (*tables, *factors):
            if tensor is not None and tensor.requires_grad:
                rows: torch.Tensor = _Pool.apply(op, lookups, *tables, *factors)
                return rows
    return _pooled(lookups)


class _Lookup:
    """A table and its ids as the extension takes them.

    Attributes:
        inputs: the tensors that ids and offsets are of.
        kept: of each id, whether it is in a bag; None if all are.
    """

    def __init__(
        self,
        op: str,
        table: torch.Tensor,
        given: Ids,
        mode: Mode,
        include_last_offset: bool,
        padding_idx: int | None,
    ) -> None:
        self.table = array(op, "weight", table)
        ids, offsets = array(op, "input", given.ids), given.offsets
        self.inputs = [given.ids]
        if isinstance(offsets, torch.Tensor):
            self.inputs.append(offsets)
            offsets = array(op, "offsets", offsets)
        weights = None
        if given.weights is not None:
            # (Copied, since whoever learns them may change them before the table's update.)
            kind = np.float64 if self.table.dtype == np.float64 else np.float32
            weights = np.array(array(op, "per_sample_weights", given.weights), kind)
        self.kept = None if padding_idx is None else ids != padding_idx
        if self.kept is None or self.kept.all():
            self.kept = None
        else:
            count = max(0, len(offsets) - bool(include_last_offset))
            nothing = np.broadcast_to(np.float32(0), (count, 1))
            _core.check_bags(nothing, ids, (offsets, weights, mode, include_last_offset))
            offsets = np.concatenate([[0], np.cumsum(self.kept)])[offsets]
            ids = ids[self.kept]
            weights = None if weights is None else weights[self.kept]
        self.ids, self.bags = ids, (offsets, weights, mode, include_last_offset)

    @property
    def item(self) -> tuple[NDArray[Any], NDArray[Any], Bags]:
        return self.table, self.ids, self.bags

    def weight_gradient(self, grads: NDArray[Any]) -> NDArray[Any]:
        """The gradient of the weights of ids, from that of the bags."""
        offsets, _, _, include_last = self.bags
        found = pooled_weight_gradient(grads, self.table, self.ids, offsets, include_last)
        if self.kept is None:
            return found
        whole = np.zeros(self.kept.shape, found.dtype)
        whole[self.kept] = found
        return whole


def _pooled(lookups: Sequence[_Lookup]) -> torch.Tensor:
    many = len(lookups) > 1
    return tensor_of(_core.gather_pooled([lookup.item for lookup in lookups], many, None))


def _slices(lookups: Sequence[_Lookup], grads: NDArray[Any]) -> list[PooledSlices]:
    mode: Any = lookups[0].bags[2]
    include_last = lookups[0].bags[3]
    if len(lookups) == 1:
        table, ids, (offsets, weights, *_) = lookups[0].item
        return [PooledSlices(grads, ids, offsets, weights, mode, table.shape, include_last)]
    tables, each_ids, bags = zip(*(lookup.item for lookup in lookups), strict=True)
    each_offsets, each_weights = [own[0] for own in bags], [own[1] for own in bags]
    return PooledSlices.of_tables(
        grads, tables, each_ids, each_offsets, each_weights, mode, include_last
    )


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, op: str, lookups: list[_Lookup], *tensors: Any) -> torch.Tensor:
        count = len(lookups)
        tables, factors = tensors[:count], tensors[count:]
        ctx.call = op, lookups, tables, [factor is not None and factor.dtype for factor in factors]
        # Whoever changes these in place before backward is told so by autograd.
        read = [tensor for lookup in lookups for tensor in lookup.inputs]
        for table, factor in zip(tables, factors, strict=False):
            if factor is not None and factor.requires_grad:
                read.append(table)
        ctx.save_for_backward(*read)
        return _pooled(lookups)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        op, lookups, tables, dtypes = ctx.call
        require_first_derivative(op)
        inputs, needed = iter(ctx.saved_tensors), ctx.needs_input_grad[2:]
        gradients: list[torch.Tensor | None] = [None] * len(needed)
        for i, own in enumerate(_slices(lookups, array(op, "gradient", grad))):
            sources = [grad, *(next(inputs) for _ in lookups[i].inputs)]
            if needed[i]:
                gradients[i] = PooledGradient.of(own, tables[i], sources)
            if dtypes and needed[len(tables) + i]:
                found = tensor_of(lookups[i].weight_gradient(own.grads))
                gradients[len(tables) + i] = found.to(dtypes[i])
        return None, None, *gradients
