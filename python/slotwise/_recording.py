# SPDX-License-Identifier: Apache-2.0
"""What a tape records: autograd's nodes, checked so that no gradient is lost without a word.

To autograd a `Variable` is a box, whose content a tape decides. So its functions, and those that
users define by ``primitive``, differentiate by variables wherever a box may stand: by position.
What is given to them in another way reaches a `Node`, NumPy or ``float()``, and is refused there.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any, NoReturn

import autograd.numpy as anp
import numpy as np
import xxhash
from autograd.core import VJPNode, add_outgrads
from autograd.extend import Box, defvjp, primitive
from autograd.numpy.numpy_boxes import ArrayBox
from autograd.numpy.numpy_vjps import unbroadcast
from autograd.tracer import getval, isbox, new_box, notrace_primitives
from numpy.typing import NDArray

from slotwise import _core, _variable
from slotwise._tables import IndexedSlices
from slotwise._variable import (
    Variable,
    _recorder,
    holds_recorded,
    is_recorded,
    plain,
    refuse_float,
)


class Owner:
    """What nodes know of their tape. It is small: nodes must not keep a tape's values alive."""

    __slots__ = ("level", "recording", "tape")

    def __init__(self, tape: Any) -> None:
        self.tape = weakref.ref(tape)
        self.recording = False
        self.level: float | None = None

    def watches(self, variable: Variable) -> bool:
        tape = self.tape()
        return tape is not None and bool(tape.watches(variable))


class Node(VJPNode):  # type: ignore[misc]
    """One recorded operation of one tape.

    Attributes:
        owner: of the tape; None for what several tapes have a part in while none of them records,
            which none of them can differentiate in full.
        function: what errors call the operation.
        shapes: of the values that ``parents`` are the nodes of.
        constants: arrays that the derivative may depend on, with checksums of what they were.
    """

    __slots__ = ("constants", "function", "owner", "shapes")

    parents: Sequence[Node]
    shapes: tuple[tuple[int, ...] | None, ...]

    def __init__(
        self,
        value: Any,
        fun: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        argnums: Sequence[int],
        parents: Sequence[Node],
    ) -> None:
        self.function = getattr(fun, "__name__", str(fun))
        self.owner = _owner_of(parents, [x for i, x in enumerate(args) if i not in argnums])
        if self.owner is None:
            self.parents, self.shapes = (), ()  # type: ignore[misc]
            return
        own = [(n, p) for n, p in zip(argnums, parents, strict=True) if p.owner is self.owner]
        args = tuple(x if n in argnums else self._constant(x) for n, x in enumerate(args))
        kwargs = {name: self._constant(x) for name, x in kwargs.items()}
        self._check(value, fun, args, kwargs, argnums)
        self.shapes = tuple(_shape(args[n]) for n, _ in own)
        self.constants = [
            (x, _checksum(x))
            for n, x in enumerate(args)
            if n not in argnums and isinstance(x, np.ndarray) and not x.dtype.hasobject
        ]
        argnums, parents = zip(*own, strict=True)
        super().__init__(value, fun, args, kwargs, argnums, parents)

    def initialize_root(self, owner: Owner, function: str, shape: tuple[int, ...]) -> None:
        super().initialize_root()
        self.function, self.owner, self.shapes, self.constants = function, owner, (shape,), []

    def _check(
        self, value: Any, fun: Any, args: Any, kwargs: dict[str, Any], argnums: Sequence[int]
    ) -> None:
        if self._holds_own(value) or (isinstance(value, np.ndarray) and value.dtype.hasobject):
            self._lose("some in another way")
        raw = getattr(fun, "fun", None)
        module = getattr(raw, "__module__", None) or ""
        if isinstance(raw, np.ufunc) or module.startswith(("numpy", "scipy")):
            for name in _IGNORED & kwargs.keys():
                if kwargs[name] is not None and kwargs[name] is not True:
                    refuse(f"{self.function}: expected no '{name}', which has no derivative")
            is_wrong = _WRONG.get(self.function)
            if is_wrong is not None and is_wrong([*args, *kwargs.values()], argnums):
                refuse(f"{self.function}: expected arguments that autograd differentiates rightly")

    def _constant(self, x: Any) -> Any:
        """An argument that is not differentiated by, with the values that variables have now."""
        if type(x) in (list, tuple):
            return type(x)(map(self._constant, x))
        if isinstance(x, slice):
            return slice(*map(self._constant, (x.start, x.stop, x.step)))
        if isinstance(x, Variable):
            assert self.owner is not None
            if self.owner.watches(x):
                self._lose(f"variable '{x.name}' in another way")
            return x.read() if _recorder.get() else x.numpy()
        if self._holds_own(x):
            self._lose("a recorded value in another way")
        return x

    def _holds_own(self, x: Any) -> bool:
        if type(x) in (list, tuple):
            return any(map(self._holds_own, x))
        return isbox(x) and getattr(x._node, "owner", None) is self.owner

    def _lose(self, what: str) -> NoReturn:
        refuse(
            f"{self.function}: expected recorded values and variables by position, inside of the "
            f"tape, got {what}, whose gradient would be lost "
            "(slotwise.stop_gradient leaves it out)"
        )

    def gradients(self, g: Any) -> Iterator[tuple[Node, Any]]:
        """The parents, and the gradient with respect to each of them."""
        if any(_checksum(x) != before for x, before in self.constants):
            refuse(
                f"{self.function}: expected arrays as they were when this was recorded, got one "
                "that was written to since"
            )
        for parent, part, shape in zip(self.parents, self.vjp(g), self.shapes, strict=False):
            yield parent, self._fitting(part, shape)

    def _fitting(self, part: Any, shape: tuple[int, ...] | None) -> Any:
        if shape is None or isinstance(part, IndexedSlices) or not _is_array(getval(part)):
            return part
        got = np.shape(getval(part))
        if got != shape and self.function == "where":  # autograd leaves out the sum
            part = unbroadcast(part, (shape, len(shape), None, True))
            got = np.shape(getval(part))
        if got != shape:
            refuse(f"{self.function}: expected a derivative of shape {shape}, got {got}")
        return part


# Arguments of NumPy's functions that autograd's derivatives leave out of account.
_IGNORED = frozenset(["where", "initial", "out"])

# When the derivatives of autograd (1.9.1 and before) are wrong.
_WRONG: dict[str, Callable[[Any, Sequence[int]], bool]] = {
    "tile": lambda args, argnums: np.size(args[1]) < np.ndim(getval(args[0])),
    "kron": lambda args, argnums: max(np.ndim(getval(x)) for x in args) > 2,
    # by the order of a function, which need not be an integer
    **dict.fromkeys(
        ["iv", "ive", "jn", "jv", "polygamma", "yn"], lambda args, argnums: 0 in argnums
    ),
}


def _owner_of(parents: Sequence[Node], others: Sequence[Any]) -> Owner | None:
    """The tape whose record an operation goes into."""
    owners = {id(parent.owner): parent.owner for parent in parents}
    if len(owners) > 1:
        found = [owner for owner in owners.values() if owner is not None and owner.recording]
        return found[0] if len(found) == 1 else None
    (owner,) = owners.values()
    if owner is not None and not owner.recording and any(map(is_recorded, others)):
        return None
    return owner


def _checksum(array: NDArray[Any]) -> int:
    return xxhash.xxh3_64_intdigest(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def _is_array(x: Any) -> bool:
    return isinstance(x, (np.ndarray, np.generic, float, complex))


def _shape(x: Any) -> tuple[int, ...] | None:
    value = getval(x)
    return np.shape(value) if _is_array(value) else None


def refuse(problem: str) -> NoReturn:
    raise TypeError(f"GradientTape: {problem}")


# ----- autograd's registries ----------------------------------------------------------------------


class _Constants(Container[Any]):
    """The functions whose derivative is 0, as autograd lists them, but for one that it is not."""

    def __contains__(self, function: Any) -> bool:
        # full_like depends on the value that it fills with.
        return function is not anp.full_like and function in notrace_primitives[VJPNode]


def _register(cls: type[Variable]) -> None:
    Box.types.add(cls)
    for derived in cls.__subclasses__():
        _register(derived)


def _float(box: Any) -> float:
    node = box._node
    if not isinstance(node, Node):
        raise TypeError(
            f"float() argument must be a string or a real number, not '{type(box).__name__}'"
        )
    if node.owner is not None and node.owner.recording:
        refuse_float(f"result of {node.function}")
    return float(box._value)


notrace_primitives[Node] = _Constants()
_register(Variable)
if not hasattr(ArrayBox, "__float__"):
    ArrayBox.__float__ = _float  # of other boxes than ours, it says what it said before


# ----- NumPy's functions --------------------------------------------------------------------------


def call(function: Any, method: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """What autograd has for a function of NumPy's, of arguments some of which are recorded."""
    name = function.__name__
    out = kwargs.get("out")
    if any(x is not None for x in (out if isinstance(out, tuple) else (out,))):
        refuse(
            f"numpy.{name}: expected no operation in place, got one with recorded values, whose "
            "gradient would be lost (write x = x + y, or assign_add)"
        )
    recorded = _recorded_function(function) if method == "__call__" else None
    if recorded is None:
        refuse(
            f"numpy.{name}: expected a function that autograd differentiates, got "
            f"{name if method == '__call__' else f'{name}.{method}'} "
            "(slotwise.stop_gradient leaves its arguments out)"
        )
    if _recorder.get() is not None:
        args = [_read(x) for x in args]
        kwargs = {key: _read(x) for key, x in kwargs.items()}
    if hasattr(recorded, "fun"):  # a primitive, which finds boxes by position only
        nested = [x for x in args if not is_recorded(x)]
        if any(map(holds_recorded, [*nested, *kwargs.values()])):
            refuse(
                f"numpy.{name}: expected recorded values and variables by position, got some in a "
                "list or by keyword, whose gradient would be lost"
            )
    return recorded(*args, **kwargs)


def _recorded_function(function: Any) -> Callable[..., Any] | None:
    name = function.__name__
    for module, theirs in ((np, anp), (np.linalg, anp.linalg), (np.fft, anp.fft)):
        if getattr(module, name, None) is function:
            return getattr(theirs, name, None)
    if "scipy.special" not in sys.modules:
        return None
    from autograd.scipy import special

    found: Callable[..., Any] | None = getattr(special, name, None)
    return found if getattr(found, "fun", None) is function else None


def _read(x: Any) -> Any:
    """A value, or a nested list of them, with what variables stand for."""
    if type(x) in (list, tuple):
        return type(x)(map(_read, x))
    return x.read() if isinstance(x, Variable) else x


# ----- rows of tables -----------------------------------------------------------------------------


def gather(table: Any, ids: Any) -> Any:
    """`slotwise.gather` of a table that is recorded."""
    recorder = _recorder.get()
    if isinstance(table, Variable) and recorder is not None:
        return recorder.gather(table, ids)
    return _gather(table, _ids(ids))


def gathered(rows: Any, root: Node, ids: Any) -> Any:
    """Rows of a variable, recorded without a copy of the variable."""
    assert root.owner is not None
    (shape,) = root.shapes
    assert shape is not None
    rows_of = _ids(ids)
    node = Node.new_root(root.owner, "gather", shape)
    node.parents = (root,)
    node.vjp = lambda g: (_slices(g, rows_of, shape),)
    return new_box(rows, root.owner.level, node)


def _ids(ids: Any) -> NDArray[Any]:
    """A copy: what is done to the ids afterwards must not change what was recorded."""
    return np.array(_core.as_array("gather", "ids", plain(ids)))


def _slices(g: Any, ids: NDArray[Any], shape: tuple[int, ...]) -> IndexedSlices:
    return IndexedSlices(anp.reshape(g, (ids.size, *shape[1:])), ids.reshape(-1), shape)


def _gather_vjp(answer: Any, table: Any, ids: NDArray[Any]) -> Callable[[Any], Any]:
    shape = np.shape(getval(table))
    return lambda g: _slices(g, ids, shape)


def _scatter_rows(rows: Any, ids: NDArray[Any], shape: tuple[int, ...]) -> Any:
    table = np.zeros(shape, rows.dtype)
    np.add.at(table, ids, rows)
    return table


_gather = primitive(lambda table, ids: _core.gather(table, ids, None))
_scatter = primitive(_scatter_rows)
defvjp(_gather, _gather_vjp, None)
defvjp(_scatter, lambda answer, rows, ids, shape: lambda g: _gather(g, ids))


class Total:
    """The sum of the parts of one gradient, dense or slices."""

    def __init__(self) -> None:
        self._sum: Any = None
        self._slices: list[IndexedSlices] = []

    def add(self, part: Any) -> None:
        if isinstance(part, IndexedSlices):
            self._slices.append(part)
        else:
            self._sum = add_outgrads(self._sum, part)

    def dense(self) -> Any:
        for slices in self._slices:
            table = _scatter(slices.values, slices.indices, slices.dense_shape)
            self._sum = add_outgrads(self._sum, table)
        self._slices = []
        return self._sum[0]

    def merge(self, other: Total) -> None:
        self._slices += other._slices
        if other._sum is not None:
            self._sum = add_outgrads(self._sum, other._sum[0])

    def result(self) -> Any:
        """`IndexedSlices` if all parts are, else an array."""
        if self._sum is not None or not self._slices:
            return self.dense()
        indices = np.concatenate([slices.indices for slices in self._slices])
        values = anp.concatenate([slices.values for slices in self._slices])
        return IndexedSlices(values, indices, self._slices[0].dense_shape)


# At the end, when all of it is there.
_variable._box_types, _variable._recording = Box.types, sys.modules[__name__]
