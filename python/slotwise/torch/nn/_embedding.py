# SPDX-License-Identifier: Apache-2.0
"""Embedding and EmbeddingBag, with the signatures of torch.nn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from slotwise import _core
from slotwise.torch._memory import array, full_like, tensor_of
from slotwise.torch.nn._pool import Ids, is_traced, pool, require_first_derivative


class Embedding(torch.nn.Embedding):
    """torch.nn.Embedding with a sparse gradient, by the kernels of this library.

    The gradient of ``weight`` is a sparse COO tensor that is not coalesced, as torch's is. These
    are torch's own, as the kernels have nothing for them: ``max_norm``; ``sparse=False`` in
    training; what is recorded by ``torch.jit.trace`` or ``torch.export``. The gradient has no
    derivative.

    Args:
        num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse:
            as torch has them, except that ``sparse`` is True by default.
        device, dtype: a CPU; float16, bfloat16, float32 or float64.

    Raises:
        ValueError: ``scale_grad_by_freq`` with ``sparse``; in forward, an id out of range, or a
            weight on another device or not contiguous.

    Example:
        >>> import torch, slotwise.torch as st
        >>> embedding = st.Embedding(10, 4)
        >>> embedding(torch.tensor([[1, 2], [4, 1]])).shape
        torch.Size([2, 2, 4])
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = True,
        _weight: torch.Tensor | None = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        _require_fitting("Embedding", scale_grad_by_freq, sparse)
        super().__init__(
            num_embeddings,
            embedding_dim,
            padding_idx,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            sparse,
            _memory_of(num_embeddings, embedding_dim, device, dtype, _weight),
            _freeze,
            device,
            dtype,
        )
        if _weight is None:
            self.reset_parameters()

    @classmethod
    def from_pretrained(
        cls,
        embeddings: torch.Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = True,
    ) -> Any:
        """As torch has it, except that ``sparse`` is True by default."""
        return super().from_pretrained(
            embeddings, freeze, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse
        )

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The rows of ids of any shape."""
        if torch.compiler.is_dynamo_compiling():
            return torch.compiler.disable(self._forward)(input)
        return self._forward(input)

    def _forward(self, input: torch.Tensor) -> torch.Tensor:
        weight = self.weight
        is_learned = torch.is_grad_enabled() and weight.requires_grad
        if self.max_norm is not None or (is_learned and not self.sparse) or is_traced():
            return super().forward(input)
        if is_learned:
            return _Gather.apply(weight, input, self.padding_idx)
        return _rows(weight, input)


class EmbeddingBag(torch.nn.EmbeddingBag):
    """torch.nn.EmbeddingBag with a sparse gradient, by the kernels of this library.

        out[b] = sum(w[i] * weight[ids[i]])        for the ids i of bag b; their mean for "mean"

    The gradient of ``weight`` is a `PooledGradient`: optimizers here take it without a row for each
    id, and it is a sparse COO tensor for everyone else. These are torch's own, as the kernels have
    nothing for them: ``mode="max"``, whose gradient is dense; ``max_norm``; ``sparse=False`` in
    training; nested tensors; what is recorded by ``torch.jit.trace`` or ``torch.export``. The
    gradient has no derivative.

    Args:
        num_embeddings, embedding_dim, max_norm, norm_type, scale_grad_by_freq, mode, sparse,
            include_last_offset, padding_idx: as torch has them, except that ``sparse`` is True by
            default.
        device, dtype: a CPU; float16, bfloat16, float32 or float64.

    Raises:
        ValueError: ``scale_grad_by_freq`` with ``sparse``; in forward, an id out of range, offsets
            that do not ascend, or a weight on another device or not contiguous.

    Example:
        >>> import torch, slotwise.torch as st
        >>> bag = st.EmbeddingBag(10, 4, mode="sum")
        >>> bag(torch.tensor([1, 2, 4, 1]), torch.tensor([0, 3])).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = True,
        _weight: torch.Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        _require_fitting("EmbeddingBag", scale_grad_by_freq, sparse and mode != "max")
        super().__init__(
            num_embeddings,
            embedding_dim,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            mode,
            sparse and mode != "max",
            _memory_of(num_embeddings, embedding_dim, device, dtype, _weight),
            include_last_offset,
            padding_idx,
            device,
            dtype,
        )
        if _weight is None:
            self.reset_parameters()

    @classmethod
    def from_pretrained(
        cls,
        embeddings: torch.Tensor,
        freeze: bool = True,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = True,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> Any:
        """As torch has it, except that ``sparse`` is True by default."""
        return super().from_pretrained(
            embeddings,
            freeze,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            mode,
            sparse,
            include_last_offset,
            padding_idx,
        )

    def forward(
        self,
        input: torch.Tensor,
        offsets: torch.Tensor | None = None,
        per_sample_weights: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Pool rows by bags.

        Args:
            input: ids, shape ``(n,)`` with offsets; or ``(bags, size)``, without.
            offsets: where bags begin in ``input``.
            per_sample_weights: what rows are multiplied by, of the shape of ``input``; for
                ``mode="sum"``.
        """
        if torch.compiler.is_dynamo_compiling():
            return torch.compiler.disable(self._forward)(input, offsets, per_sample_weights)
        return self._forward(input, offsets, per_sample_weights)

    def _forward(
        self,
        input: torch.Tensor,
        offsets: torch.Tensor | None,
        per_sample_weights: torch.Tensor | None,
    ) -> torch.Tensor:
        is_learned = torch.is_grad_enabled() and self.weight.requires_grad
        if (
            self.mode not in ("sum", "mean")
            or self.max_norm is not None
            or (is_learned and not self.sparse)
            or (per_sample_weights is not None and self.mode != "sum")  # which raises
            or input.is_nested
            or is_traced()
        ):
            return super().forward(input, offsets, per_sample_weights)
        ids, include_last = in_bags("EmbeddingBag", input, offsets, per_sample_weights), False
        if input.dim() == 1:
            include_last = self.include_last_offset
        return pool("EmbeddingBag", [self.weight], [ids], self.mode, include_last, self.padding_idx)


def in_bags(
    op: str, input: torch.Tensor, offsets: Any, weights: torch.Tensor | None, where: str = ""
) -> Ids:
    """Ids with offsets, or those of bags of one size, a row each."""
    if weights is not None and weights.shape != input.shape:
        raise ValueError(
            f"{op}: per_sample_weights{where}: expected shape {tuple(input.shape)} like input, "
            f"got {tuple(weights.shape)}"
        )
    if input.dim() == 1:
        if offsets is None:
            raise ValueError(f"{op}: offsets{where}: expected where bags begin, got None")
        return Ids(input, offsets, weights)
    if input.dim() != 2:
        raise ValueError(f"{op}: input{where}: expected rank 1 or 2, got rank {input.dim()}")
    if offsets is not None:
        raise ValueError(f"{op}: offsets{where}: expected None for ids of rank 2")
    bags, size = input.shape
    starts: NDArray[np.int64] = np.arange(bags) * size
    return Ids(input.reshape(-1), starts, None if weights is None else weights.reshape(-1))


def _require_fitting(op: str, scale_grad_by_freq: bool, sparse: bool) -> None:
    if scale_grad_by_freq and sparse:
        raise ValueError(
            f"{op}: scale_grad_by_freq: expected False with a sparse gradient, as torch does, "
            "got True"
        )


def _memory_of(
    rows: int, width: int, device: Any, dtype: Any, given: torch.Tensor | None
) -> torch.Tensor:
    """The memory of a weight: that which is given, or new, which torch would take elsewhere."""
    if given is not None:
        return given
    return full_like(torch.empty((rows, width), device=device, dtype=dtype), 0.0)


def _rows(weight: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    table, rows = array("Embedding", "weight", weight), array("Embedding", "input", ids)
    return tensor_of(_core.gather(table, rows, None))


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, ids: torch.Tensor, padding: int | None) -> Any:
        ctx.save_for_backward(ids)
        ctx.shape, ctx.padding = weight.shape, padding
        return _rows(weight, ids)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        require_first_derivative("Embedding")
        ids = ctx.saved_tensors[0].reshape(-1)
        rows = grad.reshape(len(ids), *ctx.shape[1:])
        if ctx.padding is not None:
            kept = ids != ctx.padding
            ids, rows = ids[kept], rows[kept]
        sparse = torch.sparse_coo_tensor(ids[None].long(), rows, ctx.shape, check_invariants=False)
        return sparse, None, None
