# SPDX-License-Identifier: Apache-2.0
"""Variables: named holders of arrays that optimizers update."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from operator import attrgetter
from typing import Any, NamedTuple, NoReturn, Protocol

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import DTypeLike, NDArray

from slotwise import _arguments, _core, _tracking


class Recorder(Protocol):
    """What records operations on variables, to differentiate them: `slotwise.GradientTape`."""

    @property
    def level(self) -> float: ...

    def level_of(self, variable: Variable) -> float: ...

    def read(self, variable: Variable) -> Any: ...

    def latest(self, variable: Variable) -> Any: ...

    def gather(self, table: Any, ids: Any) -> Any: ...


_recorder: ContextVar[Recorder | None] = ContextVar("slotwise_recorder", default=None)

# `_recording`, which needs autograd, puts these here. Until it is imported, nothing is recorded.
_box_types: set[type[Any]] = set()  # the types that autograd unwraps in a call: its own set
_recording: Any = None  # the module, which has what is done with recorded values

NO_NAME = "Variable"  # what variables are called that were given no name

UNRECORDED = -2.0  # below every level of autograd's, which are from -1 on


class Variable(NDArrayOperatorsMixin):
    """A named array that an optimizer updates in place.

    It holds the very memory that it is given, and never another one: ``assign`` and optimizers
    write into it. In arithmetic, in NumPy functions and in ``np.asarray`` it stands for its array.

    Shared, so that both sides see every change: NumPy arrays (memory maps, views and subclasses
    are held as they are), writable objects of the buffer protocol (``bytearray``,
    ``array.array``, ``memoryview``), tensors of other libraries whose ``__array__`` or DLPack
    shows their own memory (of PyTorch: on the CPU, detached).

    Copied: numbers, NumPy scalars, lists, another `Variable`, a value that a `GradientTape`
    recorded.

    Refused, since they can be neither updated nor copied without a word: read-only memory (of
    JAX, say, ``bytes``, or a memory map of mode ``"r"``), what makes a new array whenever it is
    asked for one, masked arrays. ``np.array(x)`` is a copy that can be held.

    ``a == b`` compares elements (shapes that do not fit are not equal), but containers tell
    variables by identity: ``in``, ``index``, ``remove`` and ``count`` find the very variable.

    Args:
        initial_value: one of the above, or a function of no arguments that returns one.
        trainable: whether a `GradientTape` watches it unasked.
        name: what slots and errors call it.
        dtype: of an array made of numbers; float32 by default. What is shared must have it.
        constraint: a function that is given the variable after an update and returns the value that
            it then gets.

    Attributes:
        value: the array.
        shape, dtype, name, trainable, constraint: as given.

    Raises:
        TypeError: an array that has another dtype than ``dtype``; what holds no numbers; what
            shows a copy of its memory only.
        ValueError: read-only memory.

    Example:
        >>> import numpy as np, slotwise
        >>> table = np.zeros((2, 3), np.float32)
        >>> var = slotwise.Variable(table, name="emb")
        >>> var.assign_add(np.ones((2, 3)))
        <slotwise.Variable 'emb' shape=(2, 3) dtype=float32>
        >>> table.sum(), (var * 2).sum(), np.asarray(var) is table
        (np.float32(6.0), np.float32(12.0), True)
    """

    __slots__ = ("__weakref__", "_array", "_constraint", "_deferred", "_name", "_trainable")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if _box_types:
            _box_types.add(cls)

    def __init__(
        self,
        initial_value: Any,
        trainable: bool = True,
        name: str | None = None,
        dtype: DTypeLike | None = None,
        constraint: Callable[[Variable], Any] | None = None,
    ) -> None:
        if constraint is not None and not callable(constraint):
            got = type(constraint).__name__
            raise TypeError(f"Variable: constraint: expected a callable or None, got {got}")
        value = initial_value
        if callable(value):
            expected = "a function of no arguments"
            value = _arguments.called("Variable", "initial_value", expected, value)
        self._array: NDArray[Any] = _held(value, dtype)
        self._deferred: Deferred | None = None
        self._name = NO_NAME if name is None else name
        self._trainable = trainable
        self._constraint = constraint

    @property
    def value(self) -> NDArray[Any]:
        deferred = self._deferred
        if deferred is None:
            return self._array
        array: NDArray[Any] = deferred.core.read(deferred.which)
        array.flags.writeable = False  # what is written into it would be lost
        return array

    @property
    def name(self) -> str:
        return self._name

    @property
    def trainable(self) -> bool:
        return self._trainable

    @property
    def constraint(self) -> Callable[[Variable], Any] | None:
        return self._constraint

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._array.dtype

    @property
    def ndim(self) -> int:
        return self._array.ndim

    @property
    def size(self) -> int:
        return self._array.size

    @property
    def device(self) -> str:
        """Where the array is: in memory."""
        return "CPU:0"

    def numpy(self) -> Any:
        """A copy of the array; of rank 0, a number. No gradient passes through it."""
        if self._deferred is not None:
            return self._deferred.core.read(self._deferred.which)
        return self._array.copy()[()]

    def read(self) -> Any:
        """The array; inside a `GradientTape`, what records the operations on it."""
        recorder = _recorder.get()
        return self.value if recorder is None else recorder.read(self)

    def read_value(self) -> Any:
        """A copy of the array; inside a `GradientTape`, what records the operations on it."""
        return self.numpy() if _recorder.get() is None else self.read()

    def eval(self, session: Any = None) -> Any:
        """`numpy`, by the name of TensorFlow's graph mode; the session is ignored."""
        return self.numpy()

    def get_shape(self) -> tuple[int, ...]:
        """The shape."""
        return self.shape

    def ref(self) -> Reference:
        """What stands for this very variable in sets and dicts, and is compared by identity."""
        return Reference(self)

    @property
    def initializer(self) -> None:
        """Always None: a variable has its value from the start."""
        return None

    @property
    def _shared_name(self) -> str:
        return self._name

    def assign(self, value: Any) -> Variable:
        """Write a value of the same shape into the array; returns the variable.

        No gradient passes through an assignment, as in TensorFlow.
        """
        value = self._fitting("assign", value)
        with _tracking.changing(self._current()):
            self._array[...] = value
        return self

    def assign_add(self, delta: Any) -> Variable:
        """Add to the array in place; returns the variable."""
        delta = self._fitting("assign_add", delta)
        with _tracking.changing(self._current()):
            self._array += delta
        return self

    def assign_sub(self, delta: Any) -> Variable:
        """Subtract from the array in place; returns the variable."""
        delta = self._fitting("assign_sub", delta)
        with _tracking.changing(self._current()):
            self._array -= delta
        return self

    def _current(self) -> NDArray[Any]:
        """The array that it holds, after all rows made up for the steps that they missed."""
        if self._deferred is not None:
            flush(self._deferred.core)
        return self._array

    def _fitting(self, method: str, value: Any) -> NDArray[Any]:
        array = _arguments.array(f"Variable.{method}", "value", plain(value))
        if array.shape != self.shape:
            what = f"Variable.{method}: value for '{self.name}'"
            raise ValueError(f"{what}: expected shape {self.shape}, got {array.shape}")
        return array.astype(self.dtype, copy=False)

    # ----- as autograd sees it: a box, while a tape records it -----------------------------------

    @property
    def _trace(self) -> float:
        recorder = _recorder.get()
        return UNRECORDED if recorder is None else recorder.level_of(self)

    @property
    def _value(self) -> Any:
        return self.read()._value if is_recorded(self) else self.read()

    @property
    def _node(self) -> Any:
        recorder = _recorder.get()
        return None if recorder is None else recorder.latest(self)._node

    # ----- as an array ---------------------------------------------------------------------------

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if is_recorded(self):  # by a function that knows nothing of tapes, as likely as not
            raise TypeError(
                f"GradientTape: '{self.name}': expected operators and functions that are recorded, "
                "got a conversion to an array, which loses its gradient "
                "(slotwise.stop_gradient leaves it out, autograd.numpy.array keeps it)"
            )
        if dtype is None or np.dtype(dtype) == self.dtype:
            return np.array(self.value) if copy else self.value
        if copy is False:
            raise ValueError(f"Variable '{self.name}': expected dtype {self.dtype}, got {dtype}")
        return self.value.astype(dtype)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.get("out", ())
        if holds_recorded(inputs) or (out and holds_recorded(out)):
            return _recording.call(ufunc, method, inputs, kwargs)
        if kwargs:
            kwargs = {key: plain(value) for key, value in kwargs.items()}
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        if not out:
            return function(*map(plain, inputs), **kwargs)
        kwargs["out"] = tuple(x._current() if isinstance(x, Variable) else plain(x) for x in out)
        with _tracking.changing(*(x for x in kwargs["out"] if x is not None)):  # as of `var += x`
            function(*map(plain, inputs), **kwargs)
        return out[0] if len(out) == 1 else out

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if holds_recorded(args) or holds_recorded(tuple(kwargs.values())):
            return _recording.call(function, "__call__", args, kwargs)
        return function(*plain(args), **{key: plain(value) for key, value in kwargs.items()})

    def dot(self, other: Any) -> Any:
        """``np.dot`` of the two."""
        return np.dot(self, other)

    def __getitem__(self, key: Any) -> Any:
        if self._deferred is not None and not is_recorded(self):
            return self._deferred.at(key, self.shape)
        return self.read()[key]

    def __getattr__(self, name: str) -> Any:
        if name in _METHODS:
            return getattr(self.read(), name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __len__(self) -> int:
        return len(self._array)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.read())

    def __float__(self) -> float:
        if is_recorded(self):
            refuse_float(f"'{self.name}'")
        return float(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __index__(self) -> int:
        return self.value.__index__()

    def __bool__(self) -> bool:
        return bool(self.value)

    def __eq__(self, other: Any) -> Any:
        if isinstance(other, Variable):
            if not _broadcast(self, other):
                return False
            # The instruction that compares: a container's asks for the truth of it, too.
            frame = sys._getframe(1)
            return Equality(np.equal(self, other), self is other, (id(frame), frame.f_lasti))
        return False if other is None else super().__eq__(other)

    def __ne__(self, other: Any) -> Any:
        if other is None or (isinstance(other, Variable) and not _broadcast(self, other)):
            return True
        return super().__ne__(other)

    def __hash__(self) -> int:
        return id(self)

    def __getstate__(self) -> Any:
        """Of a copy, whose rows are up to date; it has no optimizer yet that puts off steps."""
        names = [name for name in Variable.__slots__ if name != "__weakref__"]
        slots = {name: getattr(self, name) for name in names} | {"_deferred": None}
        if self._deferred is not None and self._deferred.core.is_behind:
            slots["_array"] = self._deferred.copied()
        return (getattr(self, "__dict__", None), slots)

    def __format__(self, spec: str) -> str:
        return format(self.value, spec) if spec else str(self)

    def __str__(self) -> str:
        return f"{self!r} {self.value}"

    def __repr__(self) -> str:
        return f"<slotwise.Variable '{self.name}' shape={self.shape} dtype={self.dtype}>"


class Deferred(NamedTuple):
    """What puts off the steps of a variable's rows, or of those of a slot beside it."""

    core: _core.Deferral
    which: int  # -1: the variable; -2: its average; else the slot of that number
    owner: weakref.ref[Any]  # the optimizer

    def copied(self) -> NDArray[Any]:
        """A copy as of now; the same one for all variables that are copied together."""
        key = id(self.core), self.which, self.core.flushes, self.core.now
        found = _copies.get(key)
        if found is None:
            found = _copies[key] = self.core.read(self.which)
        return found

    def at(self, key: Any, shape: tuple[int, ...]) -> Any:
        """What an index selects; if it is simple, no other rows are computed."""
        first, *rest = key if isinstance(key, tuple) and key else (key,)
        ids = _row_ids(first, shape[0]) if all(type(x) in (int, slice) for x in rest) else None
        rows = self.core.read(self.which, ids)
        rows.flags.writeable = False  # as of `value`
        if ids is None:
            return rows[key]
        return rows[tuple([slice(None)] * ids.ndim + rest)]


_copies: weakref.WeakValueDictionary[tuple[int, ...], NDArray[Any]]
_copies = weakref.WeakValueDictionary()


def flush(core: _core.Deferral) -> None:
    """Have all rows make up for the steps that they missed."""
    if core.is_behind:
        with _tracking.changing(*core.arrays):
            core.flush()


def _row_ids(key: Any, count: int) -> NDArray[np.int64] | None:
    """The rows that an index selects; None if it is none of integers."""
    if isinstance(key, slice):
        return np.arange(*key.indices(count))
    if isinstance(key, (bool, np.bool_)) or not isinstance(
        key, (int, np.integer, np.ndarray, list)
    ):
        return None
    if np.asarray(key).dtype.kind not in "iu":
        return None
    np.empty((count, 0))[key]  # which raises what an array would
    ids = np.asarray(key, np.int64)
    return np.where(ids < 0, ids + count, ids)


def deferred_of(table: Any) -> Deferred | None:
    """What puts off the steps of rows of a table; None if nothing does."""
    return table._deferred if isinstance(table, Variable) else None


# The array that a variable holds, of which rows may have steps to make up for. (No function of
# Python's: each step reads some.)
own_array: Callable[[Variable], NDArray[Any]] = attrgetter("_array")


class Reference:
    """A variable by identity, as TensorFlow's ``ref()``."""

    __slots__ = ("_variable",)

    def __init__(self, variable: Variable) -> None:
        self._variable = variable

    def deref(self) -> Variable:
        """The variable."""
        return self._variable

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reference) and other._variable is self._variable

    def __hash__(self) -> int:
        return id(self._variable)

    def __repr__(self) -> str:
        return f"<Reference to {self._variable!r}>"


class Equality(np.ndarray[Any, np.dtype[np.bool_]]):
    """Where two variables are equal; for a container that looks for one, whether they are one.

    A container asks for the truth within the instruction that compared; ``if a == b`` does not.
    """

    _is_same: bool
    _instruction: tuple[int, int] | None

    def __new__(cls, equal: Any, is_same: bool, instruction: tuple[int, int]) -> Equality:
        self = np.asarray(equal).view(cls)
        self._is_same, self._instruction = is_same, instruction
        return self

    def __array_finalize__(self, source: Any) -> None:
        self._instruction = None  # of a view, or a result

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        plain = np.asarray(array)
        return plain[()] if return_scalar or plain.ndim == 0 else plain

    def __bool__(self) -> bool:
        frame = sys._getframe(1)
        if self._instruction == (id(frame), frame.f_lasti):
            return self._is_same
        return bool(np.asarray(self))


def _broadcast(a: Variable, b: Variable) -> bool:
    if a.shape == b.shape:
        return True
    try:
        np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        return False
    return True


# Those of ndarray that compute something, and that a tape can record.
_METHODS = frozenset(
    [
        "T",
        "all",
        "any",
        "argmax",
        "argmin",
        "argsort",
        "astype",
        "clip",
        "compress",
        "cumprod",
        "cumsum",
        "diagonal",
        "flatten",
        "max",
        "mean",
        "min",
        "prod",
        "ravel",
        "repeat",
        "reshape",
        "round",
        "squeeze",
        "std",
        "sum",
        "swapaxes",
        "take",
        "trace",
        "transpose",
        "var",
    ]
)


def _held(value: Any, dtype: DTypeLike | None) -> NDArray[Any]:
    """What a variable of this value holds."""
    kind = None if dtype is None else _arguments.dtype_of("Variable", dtype)
    if isinstance(value, Variable) or is_recorded(value):
        value = np.array(plain(value))
    if _is_new(value):
        array = _arguments.converted(
            "Variable", "initial_value", "numbers", value, lambda x: np.array(x, kind)
        )
        if kind is None and not isinstance(value, np.generic) and array.dtype == np.float64:
            array = array.astype(np.float32)
    else:
        array = _shared(value)
        if kind is not None and array.dtype != kind:
            _refuse(f"dtype {kind}, got {array.dtype}")
        if not array.flags.writeable:
            raise ValueError(
                "Variable: initial_value: expected a writable array, got a read-only one "
                "(np.array(x) is a copy that can be updated)"
            )
    if isinstance(array, np.ma.MaskedArray):
        _refuse("an array without a mask, got a masked array")
    # The kind of bfloat16 and its like, which are not NumPy's, is that of bytes.
    if array.dtype.kind not in "biufcV" or array.dtype.type is np.void:
        _refuse(f"numbers, got dtype {array.dtype} of {type(value).__name__}")
    return array


def _is_new(value: Any) -> bool:
    """Whether an array has to be made of a value that has none of its own."""
    return isinstance(value, np.generic) or not (
        hasattr(value, "__array__") or hasattr(value, "__dlpack__") or _has_buffer(value)
    )


def _has_buffer(value: Any) -> bool:
    try:
        memoryview(value)
    except TypeError:
        return False
    return True


def _shared(value: Any) -> NDArray[Any]:
    """The memory of a value as an array."""
    if isinstance(value, np.ndarray):
        return value
    if not hasattr(value, "__array__") or _has_buffer(value):
        return _core.as_array("Variable", "initial_value", value)
    kind = type(value).__name__
    try:
        array, again = np.asarray(value), np.asarray(value)
    except (RuntimeError, TypeError, ValueError) as error:
        if hasattr(value, "__dlpack__"):  # of a dtype that NumPy lacks, say
            return _core.as_array("Variable", "initial_value", value)
        _refuse(f"an array, got {kind} ({error})")
    if array.size > 0 and not np.may_share_memory(array, again):
        _refuse(
            f"memory that can be shared, got {kind}, which makes a new array whenever it is asked "
            "for one (np.array(x) is a copy that can be held)"
        )
    return array


def _refuse(problem: str) -> NoReturn:
    raise TypeError(f"Variable: initial_value: expected {problem}")


def refuse_float(what: str) -> NoReturn:
    raise TypeError(
        f"GradientTape: {what}: expected operators and functions that are recorded, got float() "
        "while the tape records, which loses its gradient (slotwise.stop_gradient leaves it out)"
    )


def described(given: Any, place: int | None = None) -> str:
    """What errors call a variable: its name, its place in the list that it came in, its shape."""
    what = "variable" if place is None else f"variable {place}"
    if not isinstance(given, (Variable, np.ndarray)):
        return what
    what = f"{what} of shape {given.shape}"
    name = given.name if isinstance(given, Variable) else NO_NAME
    return what if name == NO_NAME else f"'{name}' ({what})"


# ----- recorded values ----------------------------------------------------------------------------


def is_float(dtype: np.dtype[Any]) -> bool:
    """Whether numbers of a dtype, which may be of ml_dtypes, are differentiated by."""
    return dtype.kind in "fc" or "float" in dtype.name


_NESTS = (list, tuple)


def is_recorded(x: Any) -> bool:
    """Whether a tape, or autograd, records what is done with a value."""
    return type(x) in _box_types and x._trace > UNRECORDED


def holds_recorded(x: Any) -> bool:
    kind = type(x)
    if kind in _box_types:
        return bool(x._trace > UNRECORDED)
    return kind in _NESTS and any(map(holds_recorded, x))


def settled(x: Any) -> Any:
    """A recorded value without its record."""
    while type(x) in _box_types and not isinstance(x, Variable):
        x = x._value
    return x


def plain(x: Any) -> Any:
    """A value, or a nested list of them, with the arrays of variables and recorded values."""
    kind = type(x)
    if kind is np.ndarray:  # as most are: nothing more to ask
        return x
    if kind in _NESTS:
        return kind(map(plain, x))
    if isinstance(x, Variable):
        return x.value
    return settled(x) if kind in _box_types else x
