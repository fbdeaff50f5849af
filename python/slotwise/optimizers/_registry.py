# SPDX-License-Identifier: Apache-2.0
"""Optimizers by name, and as plain data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from slotwise import _arguments
from slotwise.optimizers import _serialization
from slotwise.optimizers._schedule import is_schedule

Family = Literal["legacy", "current"]

_FAMILIES: dict[Family, dict[str, type[Any]]] = {"legacy": {}, "current": {}}  # in lower case
_KINDS: dict[Family, list[type[Any]]] = {"legacy": [], "current": []}
_CUSTOM = "Custom>"  # what Keras's older format has before names of the current API
_MODULES: dict[Family, str] = {"legacy": "keras.optimizers.legacy", "current": "keras.optimizers"}

_Class = TypeVar("_Class", bound=type[Any])


def register(family: Family, *names: str, module: str | None = None) -> Callable[[_Class], _Class]:
    """A decorator: makes a class known by its name.

    Args:
        family: the API that it is of.
        names: further names there.
        module: where Keras has it, if not where it has the others of that API.
    """

    def known(cls: _Class) -> _Class:
        _FAMILIES[family].update(dict.fromkeys([cls.__name__.lower(), *names], cls))
        _serialization.MODULES[cls] = module or _MODULES[family]
        return cls

    return known


def also_called(*names: str) -> Callable[[_Class], _Class]:
    """A decorator: makes a class known by older names, too, whichever API is asked."""

    def known(cls: _Class) -> _Class:
        for classes in _FAMILIES.values():
            classes.update(dict.fromkeys(names, cls))
        return cls

    return known


def kind(family: Family) -> Callable[[_Class], _Class]:
    """A decorator: makes instances of a class, and of those derived from it, optimizers."""

    def known(cls: _Class) -> _Class:
        _KINDS[family].append(cls)
        return cls

    return known


def described(family: Family) -> dict[str, type[Any]]:
    """The classes of an API that have a description, by their own names."""
    found = _FAMILIES[family].items()
    own = [cls for name, cls in found if name == cls.__name__.lower()]
    return {cls.__name__: cls for cls in own if hasattr(cls, "description")}


def is_optimizer(value: Any) -> bool:
    return isinstance(value, (*_KINDS["legacy"], *_KINDS["current"]))


def serialize(
    optimizer: Any, use_legacy_format: bool = False, *, keras: Literal[2, 3] = 2
) -> dict[str, Any] | None:
    """An optimizer's class and config as plain data, for JSON; not its state.

    Args:
        optimizer: the optimizer; None gives None.
        use_legacy_format: whether to write Keras's older format, ``class_name`` and ``config``.
        keras: which Keras is to read it: 2, which is tf_keras (and slotwise, in either case), or 3.

    Raises:
        TypeError: no optimizer.
        ValueError: Keras 3 has none that computes the same.

    Example:
        >>> from slotwise import optimizers
        >>> optimizers.serialize(optimizers.legacy.SGD(0.5), use_legacy_format=True)["config"]
        {'name': 'SGD', 'learning_rate': 0.5, 'decay': 0.0, 'momentum': 0.0, 'nesterov': False}
        >>> data = optimizers.serialize(optimizers.Lion(0.5), keras=3)
        >>> "is_legacy_optimizer" in data["config"], data["config"]["loss_scale_factor"]
        (False, None)
    """
    if optimizer is None:
        return None
    if not is_optimizer(optimizer):
        got = type(optimizer).__name__
        raise TypeError(f"serialize: optimizer: expected an optimizer, got {got}")
    if keras not in (2, 3):
        raise ValueError(f"serialize: keras: expected 2 or 3, got {keras!r}")
    if keras == 3:
        if use_legacy_format or not hasattr(optimizer, "_keras3_config"):
            got = "use_legacy_format" if use_legacy_format else type(optimizer).__name__
            raise ValueError(
                "serialize: keras=3: expected an optimizer of the current API that is not wrapped, "
                f"in the present format, got {got}"
            )
        return _serialization.serialize(optimizer, config=optimizer._keras3_config())
    data = _serialization.serialize(optimizer, use_legacy_format)
    if use_legacy_format and type(optimizer) in _FAMILIES["current"].values():
        data["class_name"] = _CUSTOM + data["class_name"]
    return data


def deserialize(
    config: dict[str, Any],
    custom_objects: dict[str, type[Any]] | None = None,
    use_legacy_format: bool = False,
    use_legacy_optimizer: bool = False,
    **kwargs: Any,
) -> Any:
    """The optimizer that `serialize` wrote, in either format, without its state.

    Which API a name is looked up in goes by the optimizer's config: by its
    ``is_legacy_optimizer``; if it has none, it is the current one of ``use_ema`` (Keras 3's), or
    the legacy one; if it is empty, by ``use_legacy_optimizer``. A name that only the other API has
    means that.

    Args:
        config: what `serialize` returned; not changed. Names of classes may be in any case.
        custom_objects: classes of your own, by name; they come before the ones built in.
        use_legacy_format: accepted for compatibility; either format is read.
        use_legacy_optimizer: whether a name with an empty config is one of the legacy API.
        kwargs: none.

    Raises:
        ValueError: the name of the class is unknown.
        TypeError: another keyword.

    Example:
        >>> from slotwise import optimizers
        >>> opt = optimizers.deserialize({"class_name": "adam", "config": {"beta_1": 0.5}})
        >>> type(opt) is optimizers.legacy.Adam, opt.get_config()["beta_1"]
        (True, 0.5)
        >>> type(optimizers.deserialize({"class_name": "adam", "config": {}})) is optimizers.Adam
        True
    """
    if kwargs:
        raise TypeError(f"Invalid keyword arguments: {kwargs}")
    settings = _serialization.checked("optimizer", config)["config"]
    is_legacy = use_legacy_optimizer
    if settings:
        given = settings.get("is_legacy_optimizer", "use_ema" not in settings)
        is_legacy = _arguments.flag_of("deserialize", "is_legacy_optimizer", given)
    family: Family = "legacy" if is_legacy else "current"
    return _deserialize(config, custom_objects, {**_FAMILIES[_OTHER[family]], **_FAMILIES[family]})


_OTHER: dict[Family, Family] = {"legacy": "current", "current": "legacy"}


def _deserialize(
    config: dict[str, Any],
    custom_objects: dict[str, type[Any]] | None,
    known: dict[str, type[Any]],
) -> Any:
    name = config["class_name"]
    if _serialization.find(name, {}, custom_objects) is None:
        if name.startswith(_CUSTOM):
            name, known = name.removeprefix(_CUSTOM), {**known, **_FAMILIES["current"]}
        if name.lower() in known:
            name = name.lower()
    return _serialization.deserialize(
        {**config, "class_name": name}, known, custom_objects, "optimizer"
    )


def get(identifier: Any, use_legacy_optimizer: bool = False) -> Any:
    """An optimizer by its name, by its `serialize`d data, or itself.

    Args:
        identifier: a name in any case, a dict, or an optimizer.
        use_legacy_optimizer: whether a name is one of the legacy API.

    Raises:
        ValueError: none of these, or an unknown name.

    Example:
        >>> from slotwise import optimizers
        >>> type(optimizers.get("rmsprop")) is optimizers.RMSprop
        True
        >>> opt = optimizers.get("rmsprop", use_legacy_optimizer=True)
        >>> type(opt) is optimizers.legacy.RMSprop
        True
    """
    if is_optimizer(identifier):
        return identifier
    if isinstance(identifier, str):
        identifier = {"class_name": identifier, "config": {}}
    if isinstance(identifier, dict):
        return deserialize(identifier, use_legacy_optimizer=use_legacy_optimizer)
    raise ValueError(f"Could not interpret optimizer identifier: {_arguments.shown(identifier)}")


_NOT_IN_LEGACY = (
    "weight_decay",
    "use_ema",
    "ema_momentum",
    "ema_overwrite_frequency",
    "jit_compile",
    "is_legacy_optimizer",
    "sparse_decay",
    "ema_variant",
)


def convert_to_legacy_optimizer(optimizer: Any) -> Any:
    """The optimizer of the legacy API that has the same arguments, without state.

    Weight decay and averages, which the legacy API does not have, are dropped.

    Args:
        optimizer: an optimizer of the current API.

    Raises:
        ValueError: an optimizer of another kind, or one that the legacy API does not have.

    Example:
        >>> from slotwise import optimizers
        >>> opt = optimizers.convert_to_legacy_optimizer(optimizers.Adam(0.5, clipnorm=1.0))
        >>> opt.get_config()
        {'name': 'Adam', 'clipnorm': 1.0, 'learning_rate': 0.5, 'decay': 0.0, 'beta_1': 0.9,
         'beta_2': 0.999, 'epsilon': 1e-07, 'amsgrad': False}
    """
    is_current = isinstance(optimizer, tuple(_KINDS["current"]))
    if not is_current:
        raise ValueError(
            "`convert_to_legacy_optimizer` should only be called on instances of "
            f"`slotwise.optimizers.Optimizer`, but received {optimizer} of type {type(optimizer)}."
        )
    config = {k: v for k, v in optimizer.get_config().items() if k not in _NOT_IN_LEGACY}
    name = type(optimizer).__name__
    if "inner_optimizer" in config:
        name = name.removesuffix("V3")
        config["inner_optimizer"] = convert_to_legacy_optimizer(optimizer.inner_optimizer)
    elif is_schedule(optimizer._learning_rate):  # it need not be known by name
        config["learning_rate"] = optimizer._learning_rate
    return _deserialize({"class_name": name, "config": config}, None, _FAMILIES["legacy"])
