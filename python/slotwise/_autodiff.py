# SPDX-License-Identifier: Apache-2.0
"""Gradients of functions of variables, by the autograd package (``slotwise[autodiff]``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import floor
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slotwise._tables import IndexedSlices, rows_now
from slotwise._variable import (
    UNRECORDED,
    Recorder,
    Variable,
    _recorder,
    is_float,
    plain,
    settled,
)


def _autograd() -> tuple[Any, Any]:
    """The package, and what builds on it."""
    try:
        import autograd.core
        import autograd.numpy
        import autograd.tracer
        import autograd.util
    except ImportError:
        raise ImportError(
            "gradients of a loss need the autograd package: pip install 'slotwise[autodiff]' "
            "(apply_gradients, with gradients of your own, does not)"
        ) from None
    from slotwise import _recording

    return autograd, _recording


def stop_gradient(value: Any) -> Any:
    """A copy of a variable's or a recorded value, through which no gradient passes.

    Args:
        value: a `Variable`, what a `GradientTape` recorded, or `IndexedSlices` of it; anything
            else is returned as it is.

    Example:
        >>> import slotwise
        >>> var = slotwise.Variable(3.0)
        >>> with slotwise.GradientTape() as tape:
        ...     loss = var * slotwise.stop_gradient(var)
        >>> float(tape.gradient(loss, var))
        3.0
    """
    if isinstance(value, Variable):
        return value.numpy()
    if isinstance(value, IndexedSlices):
        return IndexedSlices(stop_gradient(value.values), value.indices, value.dense_shape)
    number = settled(value)
    return value if number is value else np.array(number)[()]


class GradientTape:
    """Records operations on variables, to differentiate them.

    Inside the ``with`` statement, operators on variables, functions of NumPy's and
    ``autograd.numpy``'s of variables and of recorded values, and `slotwise.gather` are recorded. A
    tape records what its own thread does. Tapes may be nested, for second derivatives.

    A gradient is right, or there is an error: what would lose a part of it is refused (a
    conversion of a recorded value to an array or a float, an operation in place, a function that
    has no derivative). `stop_gradient`, ``numpy()`` and ``value`` leave a part out knowingly.
    Assignments to a variable are not recorded: what is read after one is the new value.

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
        >>> tape.gradient(loss, [var]), float(loss)
        ([array([2., 4.])], 5.0)

    Source: Maclaurin, Duvenaud and Adams, "Autograd: effortless gradients in NumPy", 2015.
    """

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True) -> None:
        self._autograd, self._recording = _autograd()
        self._owner = self._recording.Owner(self)
        self._persistent = persistent
        self._watches_all = watch_accessed_variables
        self._watched: dict[int, Variable] = {}
        # Kept by identity, with the variable, so that none is used again.
        self._snapshots: dict[int, tuple[Variable, NDArray[Any], NDArray[Any]]] = {}
        self._roots: dict[int, tuple[Variable, list[Any]]] = {}
        self._boxes: dict[int, Any] = {}
        self._outer: Recorder | None = None
        self._is_used = False

    def __enter__(self) -> GradientTape:
        owner, outer = self._owner, _recorder.get()
        if owner.recording:
            raise ValueError("GradientTape: expected a tape that is not recording yet, got one")
        # Levels of autograd's own traces are integers: below those to come, above those entered.
        # Its counter is left alone, since all threads share it.
        below = float(self._autograd.tracer.trace_stack.top)
        if outer is not None:
            below = max(below, outer.level)
        above = floor(below) + 1
        if owner.level is None:
            owner.level = (below + above) / 2
        if not below < owner.level < above:
            raise RuntimeError(
                "GradientTape: expected a tape to be entered again where it was entered first, got "
                "it inside of another one (or too many inside of each other)"
            )
        owner.recording, self._outer = True, outer
        self._token = _recorder.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._owner.recording, self._outer = False, None
        _recorder.reset(self._token)

    def watch(self, variables: Any) -> None:
        """Record these, whether trainable or not.

        Args:
            variables: a variable, or a list of them.

        Raises:
            TypeError: something else; an array is watched if it is made a variable.
        """
        for variable in [variables] if isinstance(variables, Variable) else variables:
            if not isinstance(variable, Variable):
                got = type(variable).__name__
                raise TypeError(f"GradientTape.watch: expected slotwise.Variables, got {got}")
            self._watched[id(variable)] = variable

    def watches(self, variable: Variable) -> bool:
        """Whether a variable is one of those that the tape records when they are used."""
        is_watched = id(variable) in self._watched or (self._watches_all and variable.trainable)
        return is_watched and is_float(variable.dtype)

    # ----- what variables ask --------------------------------------------------------------------

    @property
    def level(self) -> float:
        return float(self._owner.level)

    def level_of(self, variable: Variable) -> float:
        """The level at which a variable is recorded, of this tape or of one around it."""
        if self._records(variable):
            return self.level
        return UNRECORDED if self._outer is None else self._outer.level_of(variable)

    def read(self, variable: Variable) -> Any:
        """What records the operations on a variable; a copy of its array if that is not watched."""
        value = self._snapshot(variable) if self._outer is None else self._outer.read(variable)
        if not self._records(variable):
            return value
        box = self._boxes.get(id(variable))
        if box is None or box._value is not value:  # the first time, or since an assignment
            box = self._autograd.tracer.new_box(value, self.level, self._new_root(variable))
            self._boxes[id(variable)] = box
        return box

    def latest(self, variable: Variable) -> Any:
        """What the last `read` returned."""
        if not self._records(variable) and self._outer is not None:
            return self._outer.latest(variable)
        box = self._boxes.get(id(variable))
        return self.read(variable) if box is None else box

    def gather(self, variable: Variable, ids: Any) -> Any:
        """`slotwise.gather` of a variable, which is not copied for it."""
        if self._outer is None:
            rows = _computed(rows_now(variable, plain(ids)))
        else:
            rows = self._outer.gather(variable, ids)
        if not self._records(variable):
            return rows
        return self._recording.gathered(rows, self._new_root(variable), ids)

    def _records(self, variable: Variable) -> bool:
        return self._owner.recording and self.watches(variable)

    def _snapshot(self, variable: Variable) -> NDArray[Any]:
        """A copy: updates of the variable must not change what was recorded."""
        known = self._snapshots.get(id(variable))
        if known is None or not _same_bits(known[1], variable.value):
            copy = np.array(variable.value)
            known = self._snapshots[id(variable)] = variable, copy, _computed(copy)
            known[2].flags.writeable = False
        return known[2]

    def _new_root(self, variable: Variable) -> Any:
        """A node that differentiation ends in."""
        what = f"variable '{variable.name}'"
        node = self._recording.Node.new_root(self._owner, what, variable.shape)
        self._roots.setdefault(id(variable), (variable, []))[1].append(node)
        return node

    # ----- differentiation -----------------------------------------------------------------------

    def gradient(self, target: Any, sources: Any, output_gradients: Any = None) -> Any:
        """The gradients of a recorded value, summed over its elements.

        Args:
            target: the value, or a list of values, whose gradients add up.
            sources: a variable or a recorded value, or a list or dict of them.
            output_gradients: the gradient with respect to the target, of its shape; ones by
                default. For a list of targets, a list.

        Returns:
            A gradient or a list or dict of them: arrays of the variable's dtype, `IndexedSlices`
            for a variable that was only gathered from, None for one that the target does not depend
            on. Inside of another tape, recorded values.

        Raises:
            RuntimeError: the second call on a tape that is not persistent; a call inside of the
                ``with`` statement of one that is.
            TypeError: a source or a target that cannot have been recorded.
            ValueError: a target that was computed from values of several tapes after they ended.
        """
        if self._is_used and not self._persistent:
            raise RuntimeError(
                "GradientTape.gradient: expected one call on a tape that is not persistent, "
                "got a second one"
            )
        if self._owner.recording and self._persistent:
            raise RuntimeError(
                "GradientTape.gradient: expected a call after the `with` statement, got one inside "
                "of it, which would not be recorded (nest two tapes for second derivatives)"
            )
        self._is_used, self._owner.recording = True, False
        ends = list(self._ends(target, output_gradients))
        nodes = {id(x): self._nodes(x) for x in _flat(sources)}
        wanted = {node for found in nodes.values() for node in found}
        totals = self._backward(ends, wanted) if ends else {}
        owned: dict[int, Any] = {}
        for _, seed in ends:
            _own(seed, owned)

        def result(source: Any) -> Any:
            found = [totals[node] for node in nodes[id(source)] if node in totals]
            if not found:
                return None
            total = self._recording.Total()
            for part in found:
                total.merge(part)
            return _finished(total.result(), source, owned)

        return _mapped(result, sources)

    def _nodes(self, source: Any) -> list[Any]:
        """The nodes of a source."""
        if isinstance(source, Variable):
            return self._roots.get(id(source), (source, []))[1]
        found = self._own_level(source)
        if found is None:
            got = type(source).__name__
            raise TypeError(
                "GradientTape.gradient: sources: expected slotwise.Variables or values that this "
                f"tape recorded, got {got}"
            )
        return [found._node]

    def _own_level(self, value: Any) -> Any:
        """A recorded value at this tape's level; None if the tape did not record it."""
        while self._autograd.tracer.isbox(value) and not isinstance(value, Variable):
            if getattr(value._node, "owner", None) is self._owner:
                return value
            value = value._value
        return None

    def _ends(self, target: Any, seed: Any) -> Iterator[tuple[Any, Any]]:
        """The nodes that differentiation begins from, and the gradients there."""
        if isinstance(target, (list, tuple)):
            seeds = [None] * len(target) if seed is None else list(seed)
            for one, its_seed in zip(target, seeds, strict=True):
                yield from self._ends(one, its_seed)
            return
        if isinstance(target, Variable):
            if self.watches(target):
                yield self._new_root(target), _seed(_computed(target.value), seed)
            return
        found = self._own_level(target)
        if found is not None:
            yield found._node, _seed(found._value, seed)
            return
        inner = target
        while self._autograd.tracer.isbox(inner):
            if isinstance(inner._node, self._recording.Node) and inner._node.owner is None:
                raise ValueError(
                    "GradientTape.gradient: target: expected a value that was computed inside of "
                    "the tape, got one computed from values of several tapes after they ended"
                )
            inner = inner._value
        if np.asarray(inner).dtype == object:
            got = type(inner).__name__
            raise TypeError(
                f"GradientTape.gradient: target: expected a recorded value, got {got} "
                "(autograd.numpy.array makes one recorded value of several)"
            )

    def _backward(self, ends: list[tuple[Any, Any]], wanted: set[Any]) -> dict[Any, Any]:
        """The gradients of those wanted among the nodes that the ends depend on."""
        recording = self._recording
        end = recording.Node.new_root(self._owner, "target", ())
        end.parents = tuple(node for node, _ in ends)
        totals: dict[Any, Any] = {}
        for node, seed in ends:
            totals.setdefault(node, recording.Total()).add(seed)
        for node in self._autograd.util.toposort(end):
            if node is end or not node.parents:
                continue
            total = totals[node] if node in wanted else totals.pop(node)
            for parent, part in node.gradients(total.dense()):
                totals.setdefault(parent, recording.Total()).add(part)
        return {node: total for node, total in totals.items() if node in wanted}


def _computed(array: NDArray[Any]) -> NDArray[Any]:
    """An array in the type that is computed in: bfloat16 and its like are for storage."""
    return array.astype(np.float32) if array.dtype.kind == "V" else array


def _same_bits(a: NDArray[Any], b: NDArray[Any]) -> bool:
    size = a.itemsize
    bits = f"u{size}" if size in (1, 2, 4, 8) else f"V{size}"
    return np.array_equal(a.view(bits), np.asarray(b).view(bits))


def _flat(structure: Any) -> Iterator[Any]:
    if isinstance(structure, dict):
        structure = list(structure.values())
    if isinstance(structure, (list, tuple)):
        for item in structure:
            yield from _flat(item)
    else:
        yield structure


def _mapped(function: Callable[[Any], Any], structure: Any) -> Any:
    if isinstance(structure, dict):
        return {key: _mapped(function, x) for key, x in structure.items()}
    if isinstance(structure, (list, tuple)):
        return [_mapped(function, x) for x in structure]
    return function(structure)


def _seed(value: Any, given: Any) -> Any:
    """The gradient with respect to a target."""
    plain_value = settled(value)
    if not isinstance(plain_value, (np.ndarray, np.generic, float, complex)):
        got = type(plain_value).__name__
        raise TypeError(f"GradientTape.gradient: target: expected a number or an array, got {got}")
    ones = np.ones(np.shape(plain_value), np.result_type(plain_value))
    if given is None:
        if ones.dtype.kind == "c":
            raise TypeError("GradientTape.gradient: target: expected real numbers, got complex")
        return ones
    seed = _live(given.read() if isinstance(given, Variable) else given)
    if settled(seed) is seed:
        seed = np.array(seed).astype(ones.dtype)
    if np.shape(settled(seed)) != ones.shape:
        raise ValueError(
            "GradientTape.gradient: output_gradients: expected shape "
            f"{ones.shape}, got {np.shape(settled(seed))}"
        )
    return seed


def _live(x: Any) -> Any:
    """A value without the records of tapes that have ended."""
    while settled(x) is not x and hasattr(x._node, "owner"):
        owner = x._node.owner
        if owner is not None and owner.recording:
            break
        x = x._value
    return x


def _finished(gradient: Any, source: Any, owned: dict[int, Any]) -> Any:
    """A gradient as it is handed out: of the source's dtype, in memory of its own."""
    if isinstance(gradient, IndexedSlices):
        values = _own(_cast(_live(gradient.values), source.dtype), owned)
        return IndexedSlices(values, gradient.indices, source.shape)
    return _own(_cast(_live(gradient), source.dtype), owned)


def _cast(x: Any, dtype: np.dtype[Any]) -> Any:
    if settled(x) is x:
        return np.asarray(x, dtype)
    return x if x.dtype == dtype else x.astype(dtype)


def _own(x: Any, owned: dict[int, Any]) -> Any:
    """An array that shares no memory with those before: one gradient may serve two variables."""
    if not isinstance(x, np.ndarray):
        return x
    memory = x
    while isinstance(memory.base, np.ndarray):
        memory = memory.base
    if id(memory) in owned or not x.flags.writeable:
        x = memory = x.copy()
    owned[id(memory)] = memory
    return x
