"""Variables: named holders of arrays that optimizers update."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Protocol

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import DTypeLike, NDArray

from slotwise import _tracking


class Recorder(Protocol):
    """What records operations on variables, to differentiate them: `slotwise.GradientTape`."""

    def read(self, variable: Variable) -> Any: ...

    def numpy_function(self, name: str) -> Callable[..., Any] | None: ...

    def is_recorded(self, value: Any) -> bool: ...

    def gather(self, table: Any, ids: Any) -> Any: ...


_recorder: ContextVar[Recorder | None] = ContextVar("slotwise_recorder", default=None)


class Variable(NDArrayOperatorsMixin):
    """A named array that an optimizer updates in place.

    It holds the very array that it is given, and never another one: ``assign`` and optimizers write
    into it. In arithmetic, in NumPy functions and in ``np.asarray`` it stands for that array.

    Args:
        initial_value: an array, which is held and not copied; or a number, a (nested) list, or a
            function of no arguments that returns one of these.
        trainable: whether a `GradientTape` watches it unasked.
        name: what slots and errors call it.
        dtype: of an array made of numbers; float32 by default. An array must have it.
        constraint: a function that is given the variable after an update and returns the value that
            it then gets.

    Attributes:
        value: the array.
        shape, dtype, name, trainable, constraint: as given.

    Raises:
        TypeError: an array that has another dtype than ``dtype``.

    Example:
        >>> import numpy as np, slotwise
        >>> table = np.zeros((2, 3), np.float32)
        >>> var = slotwise.Variable(table, name="emb")
        >>> var.assign_add(np.ones((2, 3)))
        <slotwise.Variable 'emb' shape=(2, 3) dtype=float32>
        >>> table.sum(), (var * 2).sum(), np.asarray(var) is table
        (np.float32(6.0), np.float32(12.0), True)
    """

    __slots__ = ("__weakref__", "_constraint", "_name", "_trainable", "_value")

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
        value = initial_value() if callable(initial_value) else initial_value
        self._value: NDArray[Any] = _held(value, dtype)
        self._name = "Variable" if name is None else name
        self._trainable = trainable
        self._constraint = constraint

    @property
    def value(self) -> NDArray[Any]:
        return self._value

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
        return self._value.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._value.dtype

    @property
    def ndim(self) -> int:
        return self._value.ndim

    @property
    def size(self) -> int:
        return self._value.size

    @property
    def device(self) -> str:
        """Where the array is: in memory."""
        return "CPU:0"

    def numpy(self) -> Any:
        """A copy of the array; of rank 0, a number."""
        return self._value.copy()[()]

    def read(self) -> Any:
        """The array; inside a `GradientTape`, what records the operations on it."""
        recorder = _recorder.get()
        return self._value if recorder is None else recorder.read(self)

    def assign(self, value: Any) -> Variable:
        """Write a value of the same shape into the array; returns the variable."""
        self._value[...] = self._fitting("assign", value)
        return self

    def assign_add(self, delta: Any) -> Variable:
        """Add to the array in place; returns the variable."""
        self._value += self._fitting("assign_add", delta)
        return self

    def assign_sub(self, delta: Any) -> Variable:
        """Subtract from the array in place; returns the variable."""
        self._value -= self._fitting("assign_sub", delta)
        return self

    def _fitting(self, method: str, value: Any) -> NDArray[Any]:
        array = np.asarray(value)
        if array.shape != self.shape:
            what = f"Variable.{method}: value for '{self.name}'"
            raise ValueError(f"{what}: expected shape {self.shape}, got {array.shape}")
        _tracking.mark(self._value)
        return array.astype(self.dtype, copy=False)

    # ----- as an array ---------------------------------------------------------------------------

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if dtype is None or np.dtype(dtype) == self.dtype:
            return self._value.copy() if copy else self._value
        if copy is False:
            raise ValueError(f"Variable '{self.name}': expected dtype {self.dtype}, got {dtype}")
        return self._value.astype(dtype)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.get("out")
        if out is not None:  # as of `var += x`: in place
            for x in out:
                _tracking.mark(_plain(x))
            kwargs["out"] = tuple(x._value if isinstance(x, Variable) else x for x in out)
            given = [_plain(x) for x in inputs]
            getattr(ufunc, method)(*given, **kwargs)
            return out[0] if len(out) == 1 else out
        function = getattr(ufunc, method)
        return _call(ufunc.__name__ if method == "__call__" else "", function, inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return _call(function.__name__, function, args, kwargs)

    def __getitem__(self, key: Any) -> Any:
        return self.read()[key]

    def __getattr__(self, name: str) -> Any:
        if name in _METHODS:
            return getattr(self.read(), name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __len__(self) -> int:
        return len(self._value)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.read())

    def __float__(self) -> float:
        return float(self._value)

    def __int__(self) -> int:
        return int(self._value)

    def __index__(self) -> int:
        return self._value.__index__()

    def __bool__(self) -> bool:
        return bool(self._value)

    def __hash__(self) -> int:
        return id(self)

    def __format__(self, spec: str) -> str:
        return format(self._value, spec) if spec else str(self)

    def __str__(self) -> str:
        return f"{self!r} {self._value}"

    def __repr__(self) -> str:
        return f"<slotwise.Variable '{self.name}' shape={self.shape} dtype={self.dtype}>"


# Those of ndarray that compute something, and that a tape can record.
_METHODS = frozenset(
    [
        "T",
        "astype",
        "dot",
        "flatten",
        "max",
        "mean",
        "min",
        "prod",
        "ravel",
        "repeat",
        "reshape",
        "squeeze",
        "std",
        "sum",
        "transpose",
        "var",
    ]
)


def _held(value: Any, dtype: DTypeLike | None) -> NDArray[Any]:
    if isinstance(value, Variable):
        value = value.value.copy()
    if isinstance(value, np.ndarray):
        if dtype is not None and value.dtype != np.dtype(dtype):
            expected = np.dtype(dtype)
            raise TypeError(
                f"Variable: initial_value: expected dtype {expected}, got {value.dtype}"
            )
        return value
    array = np.array(value, dtype)
    is_python = not hasattr(value, "dtype")
    if dtype is None and is_python and array.dtype == np.float64:
        return array.astype(np.float32)
    return array


def _plain(x: Any) -> Any:
    return x._value if isinstance(x, Variable) else x


def _read_all(x: Any) -> Any:
    """The same with variables replaced by what they stand for."""
    if isinstance(x, Variable):
        return x.read()
    if type(x) in (list, tuple):
        return type(x)(_read_all(item) for item in x)
    return x


def _call(name: str, function: Any, args: Any, kwargs: Any) -> Any:
    """A NumPy function of variables: recorded, inside a tape that has it."""
    args = _read_all(tuple(args))
    kwargs = {key: _read_all(value) for key, value in kwargs.items()}
    recorder = _recorder.get()
    if recorder is not None and name:
        function = recorder.numpy_function(name) or function
    return function(*args, **kwargs)
