"""Objects with a config as plain data, in Keras's formats, and back. No code is ever loaded."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

_scope: ContextVar[dict[str, type[Any]] | None] = ContextVar("custom_objects", default=None)


@contextmanager
def custom_object_scope(custom_objects: dict[str, type[Any]]) -> Iterator[None]:
    """Let `deserialize` and `get` find classes of your own by name, inside a ``with`` statement.

    Args:
        custom_objects: the classes, by name.

    Example:
        >>> from slotwise import optimizers
        >>> class Mine(optimizers.legacy.SGD): pass
        >>> with optimizers.custom_object_scope({"Mine": Mine}):
        ...     type(optimizers.get("Mine")).__name__
        'Mine'
    """
    token = _scope.set({**(_scope.get() or {}), **custom_objects})
    try:
        yield
    finally:
        _scope.reset(token)


def plain(value: Any) -> Any:
    """The same with NumPy's scalars and arrays replaced by Python's numbers and lists."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(plain(item) for item in value)
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    return value


def serialize(obj: Any, module: str | None, use_legacy_format: bool) -> dict[str, Any]:
    """``module`` is None for a class of the user's own."""
    name = type(obj).__name__
    config = plain(obj.get_config())
    if use_legacy_format:
        return {"class_name": name, "config": config}
    return {
        "module": module,
        "class_name": name,
        "config": config,
        "registered_name": name if module is None else None,
    }


def find(
    name: Any,
    built_in: Mapping[str, type[Any]],
    custom_objects: Mapping[str, type[Any]] | None,
) -> type[Any] | None:
    """The class of this name: of the user's own, which come first, or built in."""
    for known in (custom_objects, _scope.get(), built_in):
        if known is not None and name in known:
            return known[name]
    return None


def deserialize(
    config: Mapping[str, Any],
    built_in: Mapping[str, type[Any]],
    custom_objects: Mapping[str, type[Any]] | None,
    noun: str,
) -> Any:
    name = config["class_name"]
    cls = find(name, built_in, custom_objects)
    if cls is None:
        raise ValueError(
            f"Unknown {noun}: '{name}'. Please ensure you are using a custom_object_scope or "
            "custom_objects, and that this object is among them."
        )
    arguments = dict(config["config"])
    if custom_objects and "custom_objects" in inspect.signature(cls.from_config).parameters:
        return cls.from_config(arguments, custom_objects=custom_objects)
    return cls.from_config(arguments)
