# SPDX-License-Identifier: Apache-2.0
"""Embedding bags of many tables, in one call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch

from slotwise._pooling import Jagged, split_jagged
from slotwise.optimizers._kinds import OneOf
from slotwise.torch._memory import array, tensor_of
from slotwise.torch.nn._embedding import EmbeddingBag, in_bags
from slotwise.torch.nn._pool import Ids, is_traced, pool

_OP = "EmbeddingBagCollection"
_MODE = OneOf(("sum", "mean"))


class EmbeddingBagCollection(torch.nn.Module):
    """Embedding bags of several tables, whose rows come beside each other: one call each way.

        out[b] = [pooled rows of table 0 in bag b, those of table 1, ...]

    A table's weight is ``embedding_bags[name].weight``, an ordinary parameter; its gradient is a
    `PooledGradient` that refers to its columns of the gradient of ``out``. The gradient has no
    derivative.

    Args:
        tables: ``{name: (rows, width)}``.
        mode: ``"sum"`` or ``"mean"``.
        device, dtype: a CPU; float16, bfloat16, float32 or float64.

    Raises:
        ValueError: no tables, or another mode.

    Example:
        >>> import torch, slotwise.torch as st
        >>> bags = st.EmbeddingBagCollection({"user": (100, 4), "word": (500, 8)})
        >>> users = torch.tensor([7, 42]), torch.tensor([0, 1])                # ids, offsets
        >>> words = torch.tensor([[11, 3, 3], [99, 1, 0]])                     # bags of one size
        >>> bags({"user": users, "word": words}).shape
        torch.Size([2, 12])
    """

    def __init__(
        self,
        tables: Mapping[str, tuple[int, int]],
        mode: str = "sum",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        _MODE(_OP, "mode", mode)
        if not tables:
            raise ValueError(f"{_OP}: tables: expected at least one, got none")
        self.mode: Any = mode  # one that `pool` takes
        self.embedding_bags = torch.nn.ModuleDict(
            {
                name: EmbeddingBag(rows, width, mode=mode, device=device, dtype=dtype)
                for name, (rows, width) in tables.items()
            }
        )

    def forward(self, features: Any, lengths: Any = None, weights: Any = None) -> torch.Tensor:
        """Pool the rows of all tables.

        Args:
            features: of each table its ids, in one of these forms. Each has as many bags.

                - ``{name: (ids, offsets)}`` or ``{name: (ids, offsets, weights)}``, or ids of
                  shape ``(bags, size)`` alone;
                - a `slotwise.Jagged` of tensors or arrays, in the order of the tables;
                - all ids, with ``lengths`` of shape ``(tables * bags,)``, and ``weights`` like the
                  ids or None: all bags of the first table come first;
                - a KeyedJaggedTensor: what has ``keys()``, ``values()``, ``lengths()``, and perhaps
                  ``weights_or_none()``, in that order, each table a key.

        Returns:
            Shape ``(bags, sum of widths)``.
        """
        if torch.compiler.is_dynamo_compiling():
            return torch.compiler.disable(self._forward)(features, lengths, weights)
        return self._forward(features, lengths, weights)

    def _forward(self, features: Any, lengths: Any, weights: Any) -> torch.Tensor:
        if is_traced():
            raise RuntimeError(f"{_OP}: expected a call that torch does not record")
        names = [*self.embedding_bags]
        ids = _of_tables(names, features, lengths, weights)
        tables = [bag.get_parameter("weight") for bag in self.embedding_bags.values()]
        return pool(_OP, tables, ids, self.mode)

    def extra_repr(self) -> str:
        return f"mode={self.mode!r}"


def _of_tables(names: list[str], features: Any, lengths: Any, weights: Any) -> list[Ids]:
    """The ids of each table, in the order of the names."""
    if isinstance(features, torch.Tensor):
        if lengths is None:
            raise ValueError(f"{_OP}: lengths: expected how many ids each bag has, got None")
        return _split(features, lengths, len(names), weights)
    if lengths is not None or weights is not None:
        raise ValueError(f"{_OP}: lengths, weights: expected them with a tensor of ids only")
    if isinstance(features, Mapping):
        return [_of_table(name, given) for name, given in _in_order(names, features)]
    if isinstance(features, Jagged):
        ids, offsets, weights = features
        if not len(ids) == len(offsets) == len(names):
            raise ValueError(
                f"{_OP}: features: expected ids and offsets of {len(names)} tables, "
                f"got {len(ids)} and {len(offsets)}"
            )
        given = zip(ids, offsets, weights or [None] * len(ids), strict=True)
        return [
            _of_table(name, tuple(tensor_of(x) if isinstance(x, np.ndarray) else x for x in each))
            for name, each in zip(names, given, strict=True)
        ]
    if not all(hasattr(features, name) for name in ("keys", "values", "lengths")):
        raise TypeError(
            f"{_OP}: features: expected a dict, a Jagged, ids with lengths, or a "
            f"KeyedJaggedTensor, got {type(features).__name__}"
        )
    keys = [*features.keys()]
    if len(set(keys)) < len(keys):
        raise ValueError(f"{_OP}: features: expected each key once, got {keys}")
    factors = features.weights_or_none() if hasattr(features, "weights_or_none") else None
    split = _split(features.values(), features.lengths(), len(keys), factors)
    return [ids for _, ids in _in_order(names, dict(zip(keys, split, strict=True)))]


def _in_order(names: list[str], features: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    if features.keys() != set(names):
        raise ValueError(f"{_OP}: features: expected those of {names}, got {[*features]}")
    return [(name, features[name]) for name in names]


def _of_table(name: str, given: Any) -> Ids:
    parts = given if isinstance(given, tuple) else (given, None)
    if len(parts) not in (2, 3):
        raise ValueError(
            f"{_OP}: features[{name!r}]: expected ids, offsets and perhaps weights, "
            f"got {len(parts)} items"
        )
    ids, offsets, weights = (*parts, None)[:3]
    return in_bags(_OP, ids, offsets, weights, f"[{name!r}]")


def _split(values: torch.Tensor, lengths: torch.Tensor, tables: int, weights: Any) -> list[Ids]:
    """Ids that lie behind each other, of each table."""
    jagged = split_jagged(array(_OP, "values", values), array(_OP, "lengths", lengths), tables)
    sizes = [len(ids) for ids in jagged.ids]
    factors: Any = [None] * tables
    if weights is not None:
        if weights.shape != values.shape:
            raise ValueError(
                f"{_OP}: weights: expected shape {tuple(values.shape)} like ids, "
                f"got {tuple(weights.shape)}"
            )
        factors = weights.split(sizes)
    return [Ids(*each) for each in zip(values.split(sizes), jagged.offsets, factors, strict=True)]
