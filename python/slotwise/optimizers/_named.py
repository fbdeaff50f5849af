"""State as arrays by name: of one optimizer, or of several."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from slotwise import _arguments, _tracking
from slotwise._identity import memory_of
from slotwise._overlap import Spans
from slotwise._variable import Variable
from slotwise.optimizers import _registry, _serialization
from slotwise.optimizers._state import Entry, described

Array = NDArray[Any]
Names = Mapping[str, Any]  # variables or arrays, by name
Kind = tuple[tuple[int, ...], np.dtype[Any]]
CONFIG = "config"
_SEVERAL = "optimizers"  # of the config of several
_NOT_COMPARED = ("module", "name", "registered_name", _serialization.DOUBLES)


def named(op: str, variables: Names | Iterable[Any] | None) -> dict[str, Any]:
    """Variables by name: a dict, or those of a list by the names that they have.

    Raises:
        TypeError: bare arrays in a list; masked arrays, of which a part has no value.
        ValueError: several of one name.
    """
    if variables is None:
        return {}
    if isinstance(variables, Mapping):
        found = dict(variables)
        for name, value in found.items():
            _arguments.text_of(op, "keys of variables", name)
            if not isinstance(value, (Variable, np.ndarray)):
                got = type(value).__name__
                what = f"{op}: variables: '{name}'"
                raise TypeError(f"{what}: expected a Variable or an array, got {got}")
    else:
        found, repeated = {}, set()
        for variable in _arguments.items_of(op, "variables", "Variables", variables):
            if not isinstance(variable, Variable):
                got = type(variable).__name__
                what = f"{op}: variables"
                raise TypeError(f"{what}: expected Variables, or a dict from names, got {got}")
            if variable.name in found:
                repeated.add(variable.name)
            found[variable.name] = variable
        refuse_repeated(op, repeated)
    for name, value in found.items():
        refuse_masked(f"{op}: variables: '{name}'", array_of(value))
    return found


def refuse_masked(what: str, array: Any) -> None:
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{what}: expected an array, got one with a mask: fill what it hides")


def refuse_repeated(op: str, names: Iterable[str]) -> None:
    if found := sorted(names):
        raise ValueError(
            f"{op}: variables: expected names that differ, got several of {found}; pass a dict "
            "from names to variables"
        )


def array_of(value: Any) -> Array:
    return value.value if isinstance(value, Variable) else value


@dataclass
class Report:
    """What did not fit when state was loaded.

    Attributes:
        missing: names that the state does not have; they stay as they are.
        unexpected: names that only the state has.
        mismatched: names whose shape or dtype differs, and how.
        config: settings of the optimizer that differ, and how.
        fresh: variables that have no state there, while others have: theirs begins anew with their
            next update. That is no misfit.
    """

    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: dict[str, str] = field(default_factory=dict)
    config: dict[str, str] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether there is anything that does not fit."""
        return any((self.missing, self.unexpected, self.mismatched, self.config))

    def __str__(self) -> str:
        parts = []
        for what, names in (("missing", self.missing), ("unexpected", self.unexpected)):
            if names:
                parts.append(f"{what}: {', '.join(names)}")
        parts += [
            f"{name}: {how}" for name, how in (*self.mismatched.items(), *self.config.items())
        ]
        parts = parts or ["everything fits"]
        return "; ".join([*parts, f"fresh: {', '.join(self.fresh)}"] if self.fresh else parts)


def match(given: Mapping[str, Kind], targets: Mapping[str, Array]) -> Report:
    """Compare the shapes and dtypes that a state has with those of arrays."""
    report = Report(
        missing=[name for name in targets if name not in given],
        unexpected=[name for name in given if name not in targets],
    )
    for name, array in targets.items():
        if name in given:
            shape, dtype = given[name]
            if (tuple(shape), dtype) != (array.shape, array.dtype):
                report.mismatched[name] = (
                    f"expected shape {array.shape} of {array.dtype}, got {tuple(shape)} of {dtype}"
                )
    return report


def _are_equal(saved: Any, own: Any) -> bool:
    try:
        return bool(saved == own)
    except (TypeError, ValueError, MemoryError):  # arrays, of which a config has none
        return False


def differences(saved: Any, own: Any, live: Iterable[str], where: str = "") -> dict[str, str]:
    """What differs between configs, but for keys that state itself restores."""
    if not (isinstance(saved, Mapping) and isinstance(own, Mapping)):
        difference = f"the state has {saved!r}, the optimizer {own!r}"
        return {} if _are_equal(saved, own) else {where: difference}
    found: dict[str, str] = {}
    for key in {**saved, **own}:
        if key not in _NOT_COMPARED and key not in live:
            path = f"{where}.{key}" if where else key
            found |= differences(saved.get(key), own.get(key), live, path)
    return found


# Optimizers by what precedes the names of their state: "gen/", or nothing if there is but one.
Group = Mapping[str, Any]


def grouped(op: str, optimizer: Any) -> Group:
    """One optimizer, or several by name, or None for none.

    Raises:
        TypeError: something else.
        ValueError: names that do not do, or one optimizer twice.
    """
    if optimizer is None:
        return {}
    if not isinstance(optimizer, Mapping):
        _refuse_others(f"{op}: optimizer", optimizer)
        return {"": optimizer}
    for name, each in optimizer.items():
        if not isinstance(name, str) or not name or "/" in name:
            raise ValueError(f"{op}: optimizer: expected names without '/', got {name!r}")
        _refuse_others(f"{op}: optimizer: '{name}'", each)
    if not optimizer:
        raise ValueError(f"{op}: optimizer: expected one or more, got an empty dict")
    if len({id(each._lock) for each in optimizer.values()}) < len(optimizer):
        raise ValueError(f"{op}: optimizer: expected ones that differ, got one under several names")
    return {f"{name}/": each for name, each in optimizer.items()}


def _refuse_others(what: str, optimizer: Any) -> None:
    if not _registry.is_optimizer(optimizer):
        got = type(optimizer).__name__
        raise TypeError(f"{what}: expected one of slotwise.optimizers, got {got}")


class Entries(NamedTuple):
    """State of optimizers: arrays by name."""

    arrays: dict[str, Array]
    owners: dict[str, Array]  # of slots, the arrays beside which they are
    met: dict[str, Entry]  # variables that have slots


def entries(op: str, group: Group, names: Names) -> Entries:
    """All state of optimizers.

    Args:
        op: what errors begin with.
        group: the optimizers.
        names: what to call variables; others have their own names.

    Raises:
        ValueError: several of one name; an array without one.
    """
    found = Entries({}, {}, {})
    if not group:
        return found
    known = {memory_of(array_of(v)): (name, array_of(v)) for name, v in names.items()}
    repeated, nameless = set(), []
    for prefix, optimizer in group.items():
        found.arrays.update((prefix + n, array_of(v)) for n, v in optimizer._own_state().items())
        for entry in optimizer._entries():
            if not entry.slots:
                continue
            default = None if entry.is_bare else entry.variable.name, entry.variable.value
            name, owner = known.get(entry.memory, default)
            if name is None:
                nameless.append(described(entry.variable))
                continue
            found.met[prefix + name] = entry
            for slot, value in entry.slots.items():
                full = f"{prefix}{name}/{slot}"
                if full in found.arrays:
                    repeated.add(full)
                found.arrays[full], found.owners[full] = value.value, owner
    if nameless:
        raise ValueError(
            f"{op}: variables: expected a name for every array that the optimizer trains, got none "
            f"for: {', '.join(nameless)}; pass a dict from names to arrays and Variables"
        )
    refuse_repeated(op, repeated)
    return found


def refuse_left_out(op: str, group: Group, names: Names) -> None:
    """Whoever saves variables saves all that are trained: slots without values are of no use."""
    spans = Spans(memory_of(array_of(value)) for value in names.values())
    left_out = [
        described(entry.variable)
        for optimizer in group.values()
        for entry in optimizer._wanted_entries()
        if not spans.cover(entry.memory)
    ]
    if left_out:
        raise ValueError(
            f"{op}: variables: expected all that the optimizer trains, got none for: "
            f"{', '.join(left_out)}; pass them, too (arrays in a dict from names), or "
            "variables=None, which saves the optimizer's state alone"
        )


class Prepared(NamedTuple):
    """What a state is loaded into."""

    arrays: dict[str, Array]
    fresh: dict[str, list[tuple[Array, Any]]]  # variables without state; slots, and their values

    def begin_anew(self) -> None:
        """Give the slots of variables without state the values that they begin with."""
        for slots in self.fresh.values():
            for array, value in slots:
                _tracking.mark(array)
                array[...] = value


def prepare(op: str, group: Group, given: Collection[str], names: Names) -> Prepared:
    """Make the slots that a state has, as for a first step; tell whose begin anew.

    Args:
        op: what errors begin with.
        group: the optimizers.
        given: the names that the state has.
        names: variables by name.
    """
    having = {prefix: _having(prefix, each, given, names) for prefix, each in group.items()}
    somewhere = {name for variables in having.values() for name in variables}
    others = {name: v for name, v in names.items() if name not in somewhere and _is_trained(v)}
    for prefix, optimizer in group.items():
        optimizer._make_slots([*having[prefix].values()], [*others.values()])
    found = entries(op, group, names)
    fresh: dict[str, list[tuple[Array, Any]]] = {}
    for full, entry in found.met.items():
        prefix = next(prefix for prefix in group if full.startswith(prefix))
        if full.removeprefix(prefix) in having[prefix]:
            continue
        if not found.arrays[f"{prefix}iterations"]:  # numbers are still what they were at first
            again = [name for name, start in entry.starts.items() if start is None]
        elif having[prefix] and entry.starts.keys() == entry.slots.keys():
            again = [*entry.slots]
        else:
            continue
        fresh[full] = [(entry.slots[name].value, entry.first_value(name)) for name in again]
        for slot in entry.slots:
            del found.arrays[f"{full}/{slot}"]
    if somewhere:
        known = {name for prefix in group for name in others if prefix + name in found.met}
        fresh |= {name: [] for name in others if name not in known}
    return Prepared(found.arrays, fresh)


def _having(prefix: str, optimizer: Any, given: Iterable[str], names: Names) -> dict[str, Any]:
    """The variables of which there are slots in a state: the caller's, then those met before."""
    memories = {memory_of(array_of(value)) for value in names.values()}
    met = [entry for entry in optimizer._entries() if entry.memory not in memories]
    own = {**{entry.variable.name: entry.variable for entry in met}, **names}
    of_state = (name.removeprefix(prefix) for name in given if name.startswith(prefix))
    owners = dict.fromkeys(owner_of(name, own) for name in of_state)
    return {name: own[name] for name in owners if name is not None}


def _is_trained(variable: Any) -> bool:
    return not isinstance(variable, Variable) or variable.trainable


def owner_of(name: str, variables: Names) -> str | None:
    """The variable that a slot of this name is beside."""
    while "/" in name:
        name = name.rpartition("/")[0]
        if name in variables:
            return name
    return None


# ----- configs -----------------------------------------------------------------------------------


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
        return json.loads(json.dumps(_serialization.serialize(optimizer, notes_doubles=True)))
    except TypeError as error:
        what = f"{type(optimizer).__name__}.get_config"
        raise TypeError(f"{what}: expected what JSON can hold: {error}") from None


def prefixes(config: Any) -> list[str]:
    """Those of a group that had this config."""
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
        return _registry.deserialize(config, custom_objects)
    return {name: _registry.deserialize(own, custom_objects) for name, own in several.items()}


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
            live, where = optimizer._restored_settings(), prefix.removesuffix("/")
            found |= differences(configs[prefix], _config_of(optimizer), live, where)
    return found
