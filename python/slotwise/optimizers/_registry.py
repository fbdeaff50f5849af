"""Optimizers by name, and as plain data."""

from __future__ import annotations

from typing import Any

from slotwise.optimizers import _serialization

_BY_NAME: dict[str, type[Any]] = {}  # in lower case
_MODULES: dict[type[Any], str] = {}  # as Keras spells them
_KINDS: list[type[Any]] = []


def register(cls: type[Any], module: str, *old_names: str) -> None:
    """Make a class known by its name."""
    _BY_NAME.update(dict.fromkeys([cls.__name__.lower(), *old_names], cls))
    _MODULES[cls] = module


def register_kind(cls: type[Any]) -> None:
    """Make instances of a class, and of those derived from it, known as optimizers."""
    _KINDS.append(cls)


def is_optimizer(value: Any) -> bool:
    return isinstance(value, tuple(_KINDS))


def serialize(optimizer: Any, use_legacy_format: bool = False) -> dict[str, Any] | None:
    """An optimizer's class and config as plain data, for JSON; not its state.

    Args:
        optimizer: the optimizer; None gives None.
        use_legacy_format: whether to write Keras's older format, ``class_name`` and ``config``.

    Raises:
        TypeError: no optimizer.

    Example:
        >>> from slotwise import optimizers
        >>> optimizers.serialize(optimizers.legacy.SGD(0.5), use_legacy_format=True)["config"]
        {'name': 'SGD', 'learning_rate': 0.5, 'decay': 0.0, 'momentum': 0.0, 'nesterov': False}
    """
    if optimizer is None:
        return None
    if not is_optimizer(optimizer):
        got = type(optimizer).__name__
        raise TypeError(f"serialize: optimizer: expected an optimizer, got {got}")
    return _serialization.serialize(optimizer, _MODULES.get(type(optimizer)), use_legacy_format)


def deserialize(
    config: dict[str, Any],
    custom_objects: dict[str, type[Any]] | None = None,
    use_legacy_format: bool = False,
    use_legacy_optimizer: bool = False,
) -> Any:
    """The optimizer that `serialize` wrote, in either format, without its state.

    Args:
        config: what `serialize` returned; not changed. Names of classes may be in any case.
        custom_objects: classes of your own, by name; they come before the ones built in.
        use_legacy_format: accepted for compatibility; either format is read.
        use_legacy_optimizer: accepted for compatibility; all are of the legacy API.

    Raises:
        ValueError: the name of the class is unknown.

    Example:
        >>> from slotwise import optimizers
        >>> opt = optimizers.deserialize({"class_name": "adam", "config": {"beta_1": 0.5}})
        >>> opt.get_config()["beta_1"]
        0.5
    """
    name = config["class_name"]
    if _serialization.find(name, {}, custom_objects) is None and name.lower() in _BY_NAME:
        name = name.lower()
    return _serialization.deserialize(
        {**config, "class_name": name}, _BY_NAME, custom_objects, "optimizer"
    )


def get(identifier: Any, use_legacy_optimizer: bool = False) -> Any:
    """An optimizer by its name, by its `serialize`d data, or itself.

    Args:
        identifier: a name in any case, a dict, or an optimizer.
        use_legacy_optimizer: accepted for compatibility; all are of the legacy API.

    Raises:
        ValueError: none of these, or an unknown name.

    Example:
        >>> from slotwise import optimizers
        >>> type(optimizers.get("rmsprop")).__name__
        'RMSprop'
    """
    if is_optimizer(identifier):
        return identifier
    if isinstance(identifier, str):
        identifier = {"class_name": identifier, "config": {}}
    if isinstance(identifier, dict):
        return deserialize(identifier, use_legacy_optimizer=use_legacy_optimizer)
    raise ValueError(f"Could not interpret optimizer identifier: {identifier}")
