# SPDX-License-Identifier: Apache-2.0
"""Objects with a config as plain data, in Keras's formats, and back. No code is ever loaded."""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from slotwise import _arguments
from slotwise._variable import Variable

_log = logging.getLogger("slotwise")

_scope: ContextVar[dict[str, type[Any]] | None] = ContextVar("custom_objects", default=None)

MODULES: dict[type[Any], str] = {}  # Keras's modules of the classes built in
SCHEDULES: dict[str, type[Any]] = {}  # those built in, which may stand in other configs

# Beside a config: its arguments that were NumPy's float64, which are not rounded to float32. JSON
# does not tell them from others; Keras does not look at it.
DOUBLES = "float64"


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


def plain(value: Any, use_legacy_format: bool = False) -> Any:
    """A value as data for JSON.

    NumPy's scalars and arrays become Python's numbers and lists, objects that have a config become
    what `part` makes of them.
    """
    if isinstance(value, Mapping):
        return {key: plain(item, use_legacy_format) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(plain(item, use_legacy_format) for item in value)
    if isinstance(value, Variable):
        value = value.value
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if hasattr(value, "get_config") and not isinstance(value, type):
        return part(value, use_legacy_format)
    return value


def serialize(
    obj: Any,
    use_legacy_format: bool = False,
    notes_doubles: bool = False,
    config: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The class and config of an object, and beside them which of its numbers are float64."""
    config = obj.get_config() if config is None else config
    data = _serialized(obj, plain(config, use_legacy_format), use_legacy_format)
    doubles = [key for key, value in config.items() if notes_doubles and _is_double(value)]
    return {**data, DOUBLES: doubles} if doubles else data


def part(obj: Any, use_legacy_format: bool = False) -> dict[str, Any]:
    """What `serialize` writes, for an object in the config of another one.

    Where there is no config, or none for JSON, it is None, so that the whole can be written; that
    is logged, and reading it is an error.
    """
    try:
        data = serialize(obj, use_legacy_format, notes_doubles=True)
        json.dumps(data)
    except (NotImplementedError, TypeError, ValueError) as error:
        if type(obj) not in _without_config:
            _without_config.add(type(obj))
            _log.warning(
                "%s has no config that JSON can hold (%s): its arguments are not written, and "
                "what is written cannot be made again by its config alone. Define get_config.",
                type(obj).__name__,
                error,
            )
        return _serialized(obj, None, use_legacy_format)
    return data


_without_config: set[type[Any]] = set()  # those that were logged


def _serialized(obj: Any, config: Any, use_legacy_format: bool) -> dict[str, Any]:
    name, module = type(obj).__name__, MODULES.get(type(obj))
    if use_legacy_format:
        return {"class_name": name, "config": config}
    return {
        "module": module,  # None: a class of the user's own
        "class_name": name,
        "config": config,
        "registered_name": name if module is None else None,
    }


def _is_double(value: Any) -> bool:
    """Whether it is a NumPy float64, or a list of them."""
    values = value if isinstance(value, (list, tuple)) else [value]
    return bool(values) and all(isinstance(item, np.float64) for item in values)


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


def checked(noun: str, config: Any) -> Mapping[str, Any]:
    """What `serialize` wrote, if it is that by its form.

    Raises:
        ValueError: it is something else.
    """
    if not (isinstance(config, Mapping) and config.keys() >= {"class_name", "config"}):
        raise ValueError(
            f"{noun}: expected a dict with the keys class_name and config, got "
            f"{[*config] if isinstance(config, Mapping) else type(config).__name__}"
        )
    name, settings = config["class_name"], config["config"]
    if not isinstance(name, str):
        raise ValueError(f"{noun}: class_name: expected text, got {_arguments.shown(name)}")
    if settings is not None and not isinstance(settings, Mapping):
        raise ValueError(f"{noun}: config: expected a dict, got {_arguments.shown(settings)}")
    return config


def _doubles(value: Any) -> Any:
    return [*map(np.float64, value)] if isinstance(value, list) else np.float64(value)


def deserialize(
    config: Mapping[str, Any],
    built_in: Mapping[str, type[Any]],
    custom_objects: Mapping[str, type[Any]] | None,
    noun: str,
) -> Any:
    config = checked(noun, config)
    name = config["class_name"]
    if config["config"] is None:
        raise ValueError(
            f"{name}: expected its config, got None: when it was written, the class had no "
            "get_config that returns what JSON can hold. Make it yourself, and load into an "
            "optimizer that has it."
        )
    cls = find(name, built_in, custom_objects)
    if cls is None:
        raise ValueError(
            f"Unknown {noun}: '{name}'. Please ensure you are using a custom_object_scope or "
            "custom_objects, and that this object is among them."
        )
    arguments = dict(config["config"])
    for key in _arguments.items_of(name, DOUBLES, "keys of the config", config.get(DOUBLES, ())):
        arguments[key] = _arguments.converted(
            name, f"{DOUBLES} {key!r}", "numbers", arguments.get(key), _doubles
        )
    with custom_object_scope(dict(custom_objects or {})):
        if custom_objects and "custom_objects" in inspect.signature(cls.from_config).parameters:
            return cls.from_config(arguments, custom_objects=custom_objects)
        return cls.from_config(arguments)


def revived(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config with objects in place of what `part` made of them."""
    return {key: _revived(value) for key, value in config.items()}


def _revived(value: Any) -> Any:
    if isinstance(value, Mapping):
        if value.keys() >= {"class_name", "config"}:
            return deserialize(value, SCHEDULES, None, "decay")
        return revived(value)
    return [*map(_revived, value)] if isinstance(value, list) else value
