# SPDX-License-Identifier: Apache-2.0
"""Configs of optimizers, one or several by name: as plain data, and what differs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from slotwise._stateful import Group, class_and_config, restored_settings
from slotwise.optimizers import _registry, _serialization

TORCH = "torch."  # precedes the class's name of one that trains PyTorch's parameters
_SEVERAL = "optimizers"  # of the config of several
_NOT_COMPARED = ("module", "name", "registered_name", _serialization.DOUBLES)


def config_of(group: Group) -> Any:
    """The class and config, as JSON would give them back; by name, if there are several."""
    configs = {prefix: _config_of(optimizer) for prefix, optimizer in group.items()}
    if not configs:
        return None
    return configs[""] if "" in configs else {_SEVERAL: _by_name(configs)}


def _by_name(by_prefix: Mapping[str, Any]) -> dict[str, Any]:
    return {prefix.removesuffix("/"): value for prefix, value in by_prefix.items()}


def _config_of(optimizer: Any) -> Any:
    try:
        return json.loads(json.dumps(class_and_config(optimizer)))
    except TypeError as error:
        what = f"{type(optimizer).__name__}.get_config"
        raise TypeError(f"{what}: expected what JSON can hold: {error}") from None


def prefixes(config: Any) -> list[str]:
    """The prefixes of a group that had this config."""
    several = _several(config)
    return [""] if several is None else [f"{name}/" for name in several]


def _several(config: Any) -> Any:
    """The configs by name, if there are several optimizers."""
    found = config.get(_SEVERAL) if isinstance(config, Mapping) else None
    return found if isinstance(found, Mapping) else None


def from_config(config: Any, custom_objects: dict[str, type[Any]] | None) -> Any:
    """An optimizer, or a dict of several, without state; from what `config_of` told."""
    several = _several(config)
    if several is None:
        return _from_config(config, custom_objects)
    return {name: _from_config(own, custom_objects) for name, own in several.items()}


def _from_config(config: Any, custom_objects: dict[str, type[Any]] | None) -> Any:
    name = config.get("class_name") if isinstance(config, Mapping) else None
    if isinstance(name, str) and name.startswith(TORCH):
        raise ValueError(f"{name}: expected one that was made with its parameters, got 'saved'")
    return _registry.deserialize(config, custom_objects)


def compare_config(op: str, group: Group, saved: Any) -> dict[str, str]:
    """Settings that differ.

    Raises:
        ValueError: the state is of one optimizer and several are given, or the other way round.
    """
    several = _several(saved)
    if saved is None or not group:
        return {}
    if several is None and "" not in group:
        raise ValueError(f"{op}: optimizer: the state is of one: expected an optimizer, got a dict")
    if several is not None and "" in group:
        raise ValueError(
            f"{op}: optimizer: the state is of several: expected a dict with {[*several]}, got one"
        )
    configs = {"": saved} if several is None else {f"{n}/": own for n, own in several.items()}
    found: dict[str, str] = {}
    for prefix, optimizer in group.items():
        if prefix in configs:
            live, where = restored_settings(optimizer), prefix.removesuffix("/")
            found |= differences(configs[prefix], _config_of(optimizer), live, where)
    return found


def _are_equal(saved: Any, own: Any) -> bool:
    try:
        return bool(saved == own)
    except (TypeError, ValueError, MemoryError):  # arrays, of which a config has none
        return False


def differences(saved: Any, own: Any, live: Iterable[str], where: str = "") -> dict[str, str]:
    """What differs between configs, except for keys that state itself restores."""
    if not (isinstance(saved, Mapping) and isinstance(own, Mapping)):
        difference = f"the state has {saved!r}, the optimizer {own!r}"
        return {} if _are_equal(saved, own) else {where: difference}
    found: dict[str, str] = {}
    for key in {**saved, **own}:
        if key not in _NOT_COMPARED and key not in live:
            path = f"{where}.{key}" if where else key
            found |= differences(saved.get(key), own.get(key), live, path)
    return found
