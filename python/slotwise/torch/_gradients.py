# SPDX-License-Identifier: Apache-2.0
"""Sparse gradients of PyTorch's parameters, and those of pooled rows, which stay small."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from slotwise._pooling import PooledSlices
from slotwise._tables import IndexedSlices
from slotwise.torch._memory import array, in_order, tensor_of

_aten = torch.ops.aten


def slices_of(
    grad: torch.Tensor, order: tuple[int, ...] | None = None, where: str = "slices_of: grad"
) -> IndexedSlices | None:
    """A sparse gradient as slices over its memory, not coalesced or expanded.

    They are rows of the parameter as its elements lie in memory. Where a gradient has several
    sparse dimensions, the parameter is to be seen with these as one, as `dense_shape` says.

    Args:
        grad: of any kind.
        order: the axes in the order in which the parameter's elements lie; None if in theirs.
        where: what errors begin with.

    Returns:
        `PooledSlices` of a `PooledGradient` that nobody else has used, else `IndexedSlices`; None
        for a dense tensor.

    Raises:
        ValueError: it is sparse in another way; the rows do not lie together; an index is out of
            range; what a `PooledGradient` refers to was changed in place.

    Example:
        >>> import torch
        >>> rows = torch.sparse_coo_tensor([[2, 0, 2]], torch.ones(3, 4), check_invariants=True)
        >>> slices_of(rows).indices.tolist()
        [2, 0, 2]
    """
    if isinstance(grad, PooledGradient):
        content = grad._content
        if order is None and content.tensor is None and (pooled := content.slices()) is not None:
            return pooled
        grad = content.plain()
    if grad.layout is torch.strided:
        return None
    if grad.layout is not torch.sparse_coo:
        raise ValueError(
            f"{where}: expected a dense tensor or a sparse COO tensor, got one of {grad.layout} "
            f"and shape {tuple(grad.shape)}"
        )
    if order is None and grad.sparse_dim() == 1:
        values, ids, num_rows = in_order(grad._values(), None), grad._indices()[0], grad.shape[0]
    else:
        values, ids, num_rows = _rows_in_order(grad, order, where)
    return IndexedSlices(
        array(where, "values", values),
        array(where, "ids", ids),
        (num_rows, *values.shape[1:]),
    )


def _rows_in_order(
    grad: torch.Tensor, order: tuple[int, ...] | None, where: str
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Values and ids of a sparse gradient for a parameter with its axes in this order, as rows."""
    ids, shape, width = grad._indices(), grad.shape, grad.sparse_dim()
    axes = order or tuple(range(grad.dim()))
    if not width or sorted(axes[:width]) != list(range(width)):
        raise ValueError(
            f"{where}: expected a dense tensor, or a parameter whose rows lie together in memory, "
            f"got a sparse tensor of shape {tuple(shape)} and the order of axes {axes}"
        )
    sizes = ids.new_tensor(shape[:width]).unsqueeze(1)
    if bool(((ids < 0) | (ids >= sizes)).any()):
        raise ValueError(f"{where}: expected indices in range of shape {tuple(shape)}")
    first, *more = axes[:width]
    flat = reduce(lambda done, axis: done * shape[axis] + ids[axis], more, ids[first])
    values = in_order(grad._values(), (0, *[1 + axis - width for axis in axes[width:]]))
    return values, flat, math.prod(shape[:width])


class _Content:
    """What a gradient is, for it and its aliases: parts that add up, until a tensor is asked for.

    Attributes:
        parts: gradients of pooled rows; of no use once there is a tensor.
        sources: the tensors whose memory the parts refer to, each with its version then.
        tensor: a sparse tensor, or, after a dense one was added to it, a dense one.
    """

    def __init__(
        self,
        shape: torch.Size,
        dtype: torch.dtype,
        parts: Iterable[PooledSlices] = (),
        sources: Iterable[tuple[torch.Tensor, int]] = (),
        tensor: torch.Tensor | None = None,
    ) -> None:
        self.shape, self.dtype = shape, dtype
        self.parts, self.sources, self.tensor = [*parts], [*sources], tensor

    def become(self, tensor: torch.Tensor) -> torch.Tensor:
        self.parts, self.sources, self.tensor = [], [], tensor
        return tensor

    def take(self, other: _Content) -> None:
        """Become a copy of another gradient's content."""
        tensor = None if other.tensor is None else other.tensor.clone()
        self.parts, self.sources, self.tensor = [*other.parts], [*other.sources], tensor

    def add(self, other: _Content) -> bool:
        """Add another gradient, if neither is a tensor."""
        if self.tensor is not None or other.tensor is not None:
            return False
        self.parts, self.sources = self.parts + other.parts, self.sources + other.sources
        return True

    def slices(self) -> PooledSlices | None:
        """All parts as one; None if they are pooled in several ways."""
        self._require_unchanged()
        modes = {(part._bags[2], part.weights is None) for part in self.parts}
        return reduce(_joined, self.parts) if len(modes) == 1 else None

    def plain(self) -> torch.Tensor:
        """The tensor that this is from now on."""
        if self.tensor is not None:
            return self.tensor
        self._require_unchanged()
        # It has to be one that may be changed in place, wherever it is first asked for.
        with torch.inference_mode(False), torch.no_grad():
            values = [tensor_of(part.values) for part in self.parts]
            ids = [torch.from_numpy(part.indices.astype(np.int64)) for part in self.parts]
            return self.become(
                torch.sparse_coo_tensor(
                    torch.cat(ids)[None],
                    values[0] if len(values) == 1 else torch.cat(values),
                    self.shape,
                    check_invariants=False,
                )
            )

    def _require_unchanged(self) -> None:
        if any(tensor._version != version for tensor, version in self.sources):
            raise ValueError(
                "PooledGradient: expected ids and the gradient of the pooled rows as they were in "
                "backward, since it refers to their memory; they were changed in place"
            )


def _joined(first: PooledSlices, second: PooledSlices) -> PooledSlices:
    """The sum of two gradients of a table that are pooled in the same way."""
    offsets = (
        first._bags[0][: len(first.grads)],
        second._bags[0][: len(second.grads)] + len(first.indices),
    )
    weights = None
    if first.weights is not None:
        weights = np.concatenate([first.weights, second.weights])
    mode: Any = first._bags[2]
    return PooledSlices(
        np.concatenate([first.grads, second.grads]),
        np.concatenate([first.indices, second.indices]),
        np.concatenate(offsets),
        weights,
        mode,
        first.dense_shape,
    )


class PooledGradient(torch.Tensor):
    """The gradient of an embedding's weight that backward leaves, not expanded to a row per id.

    It is a sparse COO tensor for everyone except the optimizers here, which read what it was made
    of. The first other use makes that tensor, once. From then on it is that tensor for all, so that
    what is done to it in place counts.

    Gradients of several backward passes, or of a weight that is used several times, add up without
    being expanded. A deep copy, or one from a file, is a plain sparse tensor.

    Example:
        >>> import torch, slotwise.torch as st
        >>> bag = st.EmbeddingBag(5, 4, mode="sum")
        >>> bag(torch.tensor([[2, 0], [2, 2]])).sum().backward()
        >>> type(bag.weight.grad).__name__, bag.weight.grad.is_sparse
        ('PooledGradient', True)
        >>> bag.weight.grad.to_dense()[:, 0].tolist()
        [1.0, 0.0, 3.0, 0.0, 0.0]
    """

    _content: _Content

    @staticmethod
    def __new__(cls, content: _Content) -> PooledGradient:
        # (Autograd would look into a tensor that it knows to be sparse, which would expand it.)
        grad: PooledGradient = torch.Tensor._make_wrapper_subclass(
            cls, content.shape, dtype=content.dtype
        )
        grad._content = content
        return grad

    def __init__(self, content: _Content) -> None:
        pass

    @classmethod
    def of(
        cls, slices: PooledSlices, weight: torch.Tensor, sources: Iterable[torch.Tensor]
    ) -> torch.Tensor:
        """The gradient of a weight; the sparse tensor at once if it goes anywhere except to `grad`.

        Args:
            slices: what it is.
            weight: the weight. Its hooks, and functions that it came from, take a sparse tensor.
            sources: the tensors whose memory the slices refer to.
        """
        versions = [(tensor, tensor._version) for tensor in sources]
        content = _Content(weight.shape, weight.dtype, [slices], versions)
        if weight._backward_hooks or not weight.is_leaf:
            return content.plain()
        return cls(content)

    @property
    def layout(self) -> torch.layout:
        tensor = self._content.tensor
        return torch.sparse_coo if tensor is None else tensor.layout

    @property
    def is_sparse(self) -> bool:
        return self.layout is torch.sparse_coo

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """What is called from Python, on the tensor that this is, except for what any has."""
        if func in _OF_ANY and args[0]._content.tensor is None:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **(kwargs or {}))
        return _on_plain(func, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(
        cls,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """What autograd does to gradients, and what `_OF_ANY` has."""
        own = _OWN.get(func)
        if own is not None:
            done = own(*args, **(kwargs or {}))
            if done is not NotImplemented:
                return done
        return _on_plain(func, args, kwargs or {})


def _on_plain(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Call a function on tensors; what returns one of those returns its gradient instead."""
    wrapped: dict[int, PooledGradient] = {}

    def plain(value: Any) -> Any:
        if not isinstance(value, PooledGradient):
            return value
        tensor = value._content.plain()
        wrapped[id(tensor)] = value
        return tensor

    plain_args, plain_kwargs = pytree.tree_map(plain, (args, dict(kwargs)))
    result = func(*plain_args, **plain_kwargs)
    return wrapped.get(id(result), result)


# ----- what needs no tensor ----------------------------------------------------------------------

_OF_ANY = {
    *(
        getattr(torch.Tensor, name).__get__
        for name in (
            *("shape", "ndim", "dtype", "device", "is_cpu", "is_cuda"),
            *("requires_grad", "grad_fn", "is_leaf"),
        )
    ),
    *(
        getattr(torch.Tensor, name)
        for name in (
            *("size", "dim", "numel", "is_floating_point", "is_complex", "__hash__"),
            *("detach", "clone"),
        )
    ),
}


def _alias(grad: PooledGradient) -> Any:
    return PooledGradient(grad._content) if grad._content.tensor is None else NotImplemented


def _clone(grad: PooledGradient, memory_format: Any = None) -> Any:
    if grad._content.tensor is not None:
        return NotImplemented
    return PooledGradient(_copy(grad._content))


def _copy(content: _Content) -> _Content:
    new = _Content(content.shape, content.dtype)
    new.take(content)
    return new


def _add(first: Any, second: Any, alpha: Any = 1) -> Any:
    if alpha != 1:
        return NotImplemented
    if not (isinstance(first, PooledGradient) and isinstance(second, PooledGradient)):
        return torch.add(*_dense_first(first, second))
    new = _copy(first._content)
    return PooledGradient(new) if new.add(second._content) else NotImplemented


def _add_(first: Any, second: Any, alpha: Any = 1) -> Any:
    if alpha != 1 or not isinstance(first, PooledGradient):
        return NotImplemented
    if isinstance(second, PooledGradient) and first._content.add(second._content):
        return first
    plain, other = (
        x._content.plain() if isinstance(x, PooledGradient) else x for x in (first, second)
    )
    if plain.is_sparse and not other.is_sparse:  # as autograd does: the sum is dense
        first._content.become(other + plain)
    else:
        plain.add_(other)
    return first


def _dense_first(*gradients: torch.Tensor) -> list[torch.Tensor]:
    """Two tensors in the order in which torch adds them."""
    plain = [x._content.plain() if isinstance(x, PooledGradient) else x for x in gradients]
    return sorted(plain, key=lambda x: x.is_sparse)


def _new_empty(grad: PooledGradient, size: Any, stride: Any, **options: Any) -> Any:
    """Where autograd copies a gradient to that others hold as well."""
    content = grad._content
    if content.tensor is not None or tuple(size) != tuple(content.shape):
        return NotImplemented
    empty = torch.sparse_coo_tensor(size=content.shape, dtype=content.dtype, check_invariants=False)
    return PooledGradient(_Content(content.shape, content.dtype, tensor=empty))


def _copy_(grad: Any, other: Any, non_blocking: bool = False) -> Any:
    if not (isinstance(grad, PooledGradient) and isinstance(other, PooledGradient)):
        return NotImplemented
    grad._content.take(other._content)
    return grad


_OWN: dict[Any, Callable[..., Any]] = {
    _aten.detach.default: _alias,
    _aten.clone.default: _clone,
    _aten.add.Tensor: _add,
    _aten.add_.Tensor: _add_,
    _aten.new_empty_strided.default: _new_empty,
    _aten.copy_.default: _copy_,
}
