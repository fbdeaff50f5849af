# SPDX-License-Identifier: Apache-2.0
"""Arguments as what they are to be, or an error that says what was expected and what came."""

from __future__ import annotations

import inspect
import itertools
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

# What updates are computed on.
FLOATS = tuple(map(np.dtype, (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)))

# What conversions raise. Other exceptions come from methods of the caller's, and are passed on.
_FAILURES = (TypeError, ValueError, OverflowError, AttributeError, LookupError, BufferError)
_MAX_RANK = 64
_SHORT = 80  # characters of a list that errors show
_MAX_BYTES = 2**62


def shown(value: Any) -> str:
    """A value that does not fit, as errors say it."""
    if isinstance(value, str):
        return repr(value)
    if isinstance(value, int) and not -(2**128) < value < 2**128:
        return "an integer beyond 128 bits"
    if value is None or isinstance(value, (bool, np.bool_, int, float, complex, np.number)):
        return str(value)
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, (tuple, list)) and len(text := repr(value)) <= _SHORT:
        return text
    shape = getattr(value, "shape", ())
    if isinstance(shape, tuple) and shape and hasattr(value, "__array__"):
        return f"an array of shape {shape}"
    return type(value).__name__


def refused(op: str, name: str, expected: str, value: Any) -> TypeError:
    return TypeError(f"{op}: {name}: expected {expected}, got {shown(value)}")


def converted(op: str, name: str, expected: str, value: Any, convert: Callable[[Any], T]) -> T:
    """What a function makes of a value.

    Raises:
        TypeError: the function raises one, or a ValueError or the like.
    """
    try:
        return convert(value)
    except _FAILURES:
        raise refused(op, name, expected, value) from None
    except MemoryError:
        what = f"{op}: {name}: expected what there is memory for"
        raise MemoryError(f"{what}, got {shown(value)}") from None


def array(op: str, name: str, value: Any, dtype: Any = None) -> NDArray[Any]:
    """An array of numbers, not copied if it is one."""

    def convert(value: Any) -> NDArray[Any]:
        found = np.asarray(value)
        if not is_numeric(found.dtype):
            raise TypeError
        return found if dtype is None else found.astype(dtype, copy=False)

    return converted(op, name, "an array of numbers", value, convert)


def is_numeric(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype is of numbers: NumPy's, or further ones, as bfloat16."""
    return dtype.kind in "biufc" or (dtype.kind == "V" and not issubclass(dtype.type, np.void))


def dtype_of(op: str, value: Any) -> np.dtype[Any]:
    """A dtype of numbers."""
    kind: np.dtype[Any] = converted(op, "dtype", "a dtype of numbers", value, np.dtype)
    if value is None or not is_numeric(kind):
        raise TypeError(f"{op}: dtype: expected a dtype of numbers, got {kind}")
    return kind


def sizes_of(op: str, shape: Any, itemsize: int = 1, what: str = "shape") -> tuple[int, ...]:
    """A shape, of an integer or several.

    Args:
        op: what errors begin with.
        shape: the integer or integers.
        itemsize: bytes of an element.
        what: the argument.

    Raises:
        TypeError: neither.
        ValueError: a negative size, or too many of them.
        MemoryError: more bytes than any machine has.
    """

    def convert(shape: Any) -> tuple[int, ...]:
        try:
            return (operator.index(shape),)
        except TypeError:  # several, then
            few = itertools.islice(shape, _MAX_RANK + 1)  # of some there is no end
            return tuple(operator.index(size) for size in few)

    sizes = converted(op, what, "an integer or a sequence of integers", shape, convert)
    if any(size < 0 for size in sizes):
        raise ValueError(f"{op}: {what}: expected sizes >= 0, got {sizes}")
    if len(sizes) > _MAX_RANK:
        raise ValueError(f"{op}: {what}: expected at most {_MAX_RANK} sizes, got more")
    count = itemsize
    for size in sizes:
        count *= max(size, 1)  # NumPy refuses them beside a 0, too
    if count > _MAX_BYTES:
        raise no_memory(op, sizes)
    return sizes


def no_memory(op: str, shape: tuple[int, ...]) -> MemoryError:
    return MemoryError(f"{op}: shape: expected what there is memory for, got {shape}")


def index_of(op: str, name: str, value: Any) -> int:
    return converted(op, name, "an integer", value, operator.index)


def flag_of(op: str, name: str, value: Any) -> bool:
    expected = "True or False"
    if isinstance(value, (str, bytes)):  # "False" would be true
        raise refused(op, name, expected, value)
    return converted(op, name, expected, value, bool)


def items_of(op: str, name: str, what: str, value: Any) -> list[Any]:
    """The items of an iterable that is no text and no dict."""
    if isinstance(value, (str, bytes, Mapping)):
        raise refused(op, name, f"a list of {what}", value)
    items: Iterable[Any] = converted(op, name, f"a list of {what}", value, iter)
    return list(items)


def mapping_of(op: str, name: str, value: Any) -> dict[Any, Any]:
    """A copy of a dict or of what is like one."""
    if not isinstance(value, Mapping):
        raise refused(op, name, "a dict", value)
    return dict(value)


def named_of(op: str, name: str, value: Any) -> dict[str, Any]:
    """A copy of a dict, or of what is like one, whose keys are names."""
    found = mapping_of(op, name, value)
    for key in found:
        text_of(op, f"keys of {name}", key)
    return found


def takes(function: Callable[..., Any], *args: Any, **kwargs: Any) -> bool:
    """Whether a function may be called so, as far as it says."""
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        return False
    except ValueError:  # it has no signature
        return True
    return True


def called(
    op: str, name: str, expected: str, function: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    """What a function of the caller's returns, whose own exceptions are passed on."""
    if not takes(function, *args, **kwargs):
        raise refused(op, name, expected, function)
    if isinstance(function, type) and function.__module__ == "builtins":
        return converted(op, name, expected, function, lambda kind: kind(*args, **kwargs))
    return function(*args, **kwargs)


def text_of(op: str, name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise refused(op, name, "text", value)
    return value
