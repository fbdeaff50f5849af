"""Gradients of functions of variables, by the autograd package (``slotwise[autodiff]``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from slotwise._tables import IndexedSlices
from slotwise._variable import Variable, _recorder


def _autograd() -> Any:
    try:
        import autograd.core
        import autograd.numpy
        import autograd.tracer
    except ImportError:
        raise ImportError(
            "gradients of a loss need the autograd package: pip install 'slotwise[autodiff]' "
            "(apply_gradients, with gradients of your own, does not)"
        ) from None
    return autograd


class GradientTape:
    """Records operations on variables, to differentiate them.

    Inside the ``with`` statement, operators on variables, NumPy functions of variables and
    `slotwise.gather` are recorded. On their results use ``autograd.numpy`` functions.

    Args:
        persistent: whether `gradient` may be called more than once.
        watch_accessed_variables: whether every trainable variable that is used is watched; if not,
            those only that `watch` names.

    Raises:
        ImportError: the autograd package is not installed.

    Example:
        >>> import numpy as np, slotwise
        >>> var = slotwise.Variable(np.array([1.0, 2.0]))
        >>> with slotwise.GradientTape() as tape:
        ...     loss = (var * var).sum()
        >>> tape.gradient(loss, [var])
        [array([2., 4.])]

    Source: Maclaurin, Duvenaud and Adams, "Autograd: effortless gradients in NumPy", 2015.
    """

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True) -> None:
        self._autograd = _autograd()
        self._persistent = persistent
        self._watches_all = watch_accessed_variables
        self._watched: dict[int, Variable] = {}
        self._recorded: dict[int, tuple[Variable, Any]] = {}
        self._is_used = False

    def __enter__(self) -> GradientTape:
        self._trace = self._autograd.tracer.trace_stack.new_trace()
        self._level = self._trace.__enter__()
        self._token = _recorder.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _recorder.reset(self._token)
        self._trace.__exit__(kind, error, traceback)

    def watch(self, variables: Any) -> None:
        """Record these, whether trainable or not.

        Args:
            variables: a variable, or a list of them.
        """
        for variable in [variables] if isinstance(variables, Variable) else variables:
            self._watched[id(variable)] = variable

    def read(self, variable: Variable) -> Any:
        """What records the operations on a variable; its array if that is not watched."""
        is_watched = id(variable) in self._watched or (self._watches_all and variable.trainable)
        if not is_watched or not np.issubdtype(variable.dtype, np.inexact):
            return variable.value
        if id(variable) not in self._recorded:
            node = self._autograd.core.VJPNode.new_root()
            # A copy: updates of the variable must not change what was recorded.
            box = self._autograd.tracer.new_box(variable.value.copy(), self._level, node)
            self._recorded[id(variable)] = (variable, box)
        return self._recorded[id(variable)][1]

    def is_recorded(self, value: Any) -> bool:
        """Whether a value depends on a variable that is watched."""
        return bool(self._autograd.tracer.isbox(value))

    def numpy_function(self, name: str) -> Callable[..., Any] | None:
        """The recorded function of NumPy's of this name, or None."""
        function: Callable[..., Any] | None = getattr(self._autograd.numpy, name, None)
        return function

    def gather(self, table: Any, ids: Any) -> Any:
        """`slotwise.gather` of a table that is recorded."""
        return _gather_primitive()(table, ids)

    def gradient(self, target: Any, sources: Any, output_gradients: Any = None) -> Any:
        """The gradients of a recorded value, summed over its elements.

        Args:
            target: the value.
            sources: a variable, or a list of them.
            output_gradients: the gradient with respect to the target, of its shape; ones by
                default.

        Returns:
            A gradient or a list of them: arrays of the variable's dtype, `IndexedSlices` for a
            variable that was only gathered from, None for one that the target does not depend on.

        Raises:
            RuntimeError: the second call on a tape that is not persistent.
        """
        if self._is_used and not self._persistent:
            raise RuntimeError(
                "GradientTape.gradient: expected one call on a tape that is not persistent, "
                "got a second one"
            )
        self._is_used = True
        if isinstance(sources, Variable):
            return self._gradients(target, [sources], output_gradients)[0]
        return self._gradients(target, list(sources), output_gradients)

    def _gradients(self, target: Any, sources: Sequence[Variable], seed: Any) -> list[Any]:
        if isinstance(target, Variable):
            recorded = self._recorded.get(id(target))
            target = recorded[1] if recorded else target.value
        totals: dict[Any, Any] = {}
        if self.is_recorded(target):
            value = target._value
            ones = np.ones(np.shape(value), np.result_type(value))
            seed = ones if seed is None else np.asarray(_value(seed)).astype(ones.dtype)
            if seed.shape != ones.shape:
                raise ValueError(
                    "GradientTape.gradient: output_gradients: expected shape "
                    f"{ones.shape}, got {seed.shape}"
                )
            totals = self._backward(target._node, seed)
        gradients = []
        for source in sources:
            recorded = self._recorded.get(id(source))
            total = totals.get(recorded[1]._node) if recorded else None
            gradients.append(None if total is None else total.result(source))
        return gradients

    def _backward(self, end: Any, seed: Any) -> dict[Any, _Total]:
        """The gradient of every node that `end` depends on."""
        core = self._autograd.core
        totals: dict[Any, _Total] = {end: _Total(core)}
        totals[end].add(seed)
        for node in core.toposort(end):
            if not node.parents:
                continue
            for parent, part in zip(node.parents, node.vjp(totals.pop(node).dense()), strict=True):
                totals.setdefault(parent, _Total(core)).add(part)
        return totals


def _value(x: Any) -> Any:
    return x.value if isinstance(x, Variable) else x


class _Total:
    """The sum of the parts of one gradient, dense or slices."""

    def __init__(self, core: Any) -> None:
        self._core = core
        self._sum: Any = None
        self._slices: list[IndexedSlices] = []

    def add(self, part: Any) -> None:
        if isinstance(part, IndexedSlices):
            self._slices.append(part)
        else:
            self._sum = self._core.add_outgrads(self._sum, part)

    def dense(self) -> Any:
        for slices in self._slices:
            assert slices.dense_shape is not None
            table = np.zeros(slices.dense_shape, slices.values.dtype)
            np.add.at(table, slices.indices, slices.values)
            self._sum = self._core.add_outgrads(self._sum, table)
        self._slices = []
        return self._sum[0]

    def result(self, source: Variable) -> Any:
        if self._sum is not None or not self._slices:
            return np.asarray(self.dense(), source.dtype).reshape(source.shape)
        values = np.concatenate([slices.values for slices in self._slices])
        indices = np.concatenate([slices.indices for slices in self._slices])
        return IndexedSlices(values.astype(source.dtype, copy=False), indices, source.shape)


_gather: Any = None


def _gather_primitive() -> Any:
    """`gather` as a function that autograd knows the derivative of."""
    global _gather
    if _gather is None:
        from autograd.extend import defvjp, primitive

        from slotwise._tables import gather

        def vjp(answer: Any, table: Any, ids: Any) -> Any:
            shape = np.shape(table)
            rows = np.asarray(ids).reshape(-1)
            return lambda g: IndexedSlices(np.reshape(g, (rows.size, *shape[1:])), rows, shape)

        _gather = primitive(lambda table, ids: gather(table, ids))
        defvjp(_gather, vjp, None)
    return _gather
