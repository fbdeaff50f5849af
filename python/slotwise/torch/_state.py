# SPDX-License-Identifier: Apache-2.0
"""The state of PyTorch's optimizers, for checkpoints: see `slotwise.save`.

Tensors are kept by the memory that they have. Numbers that are no tensors (those of groups, and
SparseAdam's count) are arrays while a checkpoint is written or read; what was read into these goes
back into groups and state once all is there.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from numbers import Real
from typing import Any, ClassVar, NamedTuple, TypeAlias

import numpy as np
import torch

from slotwise._identity import Memory, memory_of
from slotwise._names import Array, Names, array_of
from slotwise._stateful import Stateful
from slotwise._variable import Variable
from slotwise.optimizers._configs import TORCH
from slotwise.torch._memory import array

Group: TypeAlias = dict[str, Any]

_IGNORED = ("foreach", "fused")  # options that change nothing


class _Entry:
    """A parameter and its state; see `slotwise._stateful.Met`."""

    def __init__(self, values: Array, name: str | None, slots: dict[str, Variable]) -> None:
        self.variable = Variable(values, name=name)
        self.slots = slots
        self.starts: dict[str, Any] = {}  # state without values in a checkpoint is forgotten
        self.is_bare = name is None
        self.memory: Memory = memory_of(values)

    def first_value(self, slot: str) -> Any:
        raise KeyError(slot)


class _Copy(NamedTuple):
    """A number of a group or of a state, or several, as an array."""

    owner: dict[str, Any]
    key: str
    array: Array


class _Keeping:
    """What is known while a checkpoint is written or read."""

    def __init__(self, given: dict[int, set[str]] | None = None) -> None:
        self.copies: dict[tuple[int, str], _Copy] = {}
        self.given = given  # names of the numbers of groups that are read; None while writing


class Kept(Stateful):
    """An optimizer whose state can be kept."""

    _optional_slots: ClassVar[frozenset[str]] = frozenset()  # that not all options need

    param_groups: list[Group]
    state: Any
    defaults: dict[str, Any]
    _keeping: _Keeping | None = None

    def _needed(self, group: Group, parameter: torch.Tensor) -> tuple[str, ...]:
        """Hook: the names of what a step takes of a parameter's state."""
        raise NotImplementedError

    def _begun(self, group: Group, parameter: torch.Tensor, names: Iterable[str]) -> dict[str, Any]:
        """Hook: of these, what a parameter's state lacks, as it begins."""
        raise NotImplementedError

    # ----- what there is -------------------------------------------------------------------------

    def _class_and_config(self) -> dict[str, Any]:
        groups = {
            str(place): self._settings(group) for place, group in enumerate(self.param_groups)
        }
        return {"class_name": TORCH + type(self).__name__, "config": {"param_groups": groups}}

    def _settings(self, group: Group) -> dict[str, Any]:
        """Options that are no numbers, unless they are off: other versions lack some."""
        found = {key: group.get(key) for key in self.defaults if key not in _IGNORED}
        on = {
            key: value
            for key, value in found.items()
            if value is not None and value is not False and _numbers_of(value) is None
        }
        return {"params": len(group["params"]), **on}

    def _own_state(self) -> dict[str, Variable | Array]:
        return {
            f"param_groups.{place}.{key}": self._copy(group, key, numbers)
            for place, group in enumerate(self.param_groups)
            for key, numbers in self._hypers(place, group)
        }

    def _hypers(self, place: int, group: Group) -> Iterator[tuple[str, Array]]:
        """The numbers of a group; single ones also of whoever added them, as schedulers do."""
        given = None if self._keeping is None else self._keeping.given
        read = None if given is None else given.get(place, set())
        for key, value in group.items():
            numbers = None if key == "params" else _numbers_of(value)
            if numbers is None:
                continue
            if key in self.defaults or (not numbers.ndim and (read is None or key in read)):
                yield key, numbers
        for key in sorted((read or set()) - group.keys()):
            yield key, np.zeros(())

    def _copy(self, owner: dict[str, Any], key: str, numbers: Array) -> Array:
        """An array of numbers; the same one as long as a checkpoint is written or read."""
        copy = _Copy(owner, key, numbers)
        if self._keeping is None:
            return numbers
        return self._keeping.copies.setdefault((id(owner), key), copy).array

    def _parameters(self) -> Iterator[tuple[Group, torch.Tensor, str | None]]:
        """All parameters, each with its group and name: None if several have that."""
        groups = self.param_groups
        counts = Counter(name for group in groups for name in group.get("param_names") or ())
        for place, group in enumerate(groups):
            names = group.get("param_names")
            for number, parameter in enumerate(group["params"]):
                name = names[number] if names else f"param_groups.{place}.params.{number}"
                yield group, parameter, None if counts[name] > 1 else name

    def _entries(self) -> Iterator[_Entry]:
        op = type(self).__name__
        for _, parameter, name in self._parameters():
            what = f"parameter of shape {tuple(parameter.shape)}" if name is None else f"'{name}'"
            slots = {}
            state = self.state.get(parameter) or {}
            for key, value in state.items():
                if isinstance(value, torch.Tensor):
                    slots[key] = Variable(array(op, f"{key} of {what}", value))
                elif isinstance(value, (int, float)) and not isinstance(value, bool):
                    slots[key] = Variable(self._copy(state, key, np.array(value)))
                elif value is not None:
                    got = type(value).__name__
                    raise TypeError(f"{op}: {key} of {what}: expected a tensor, got {got}")
            yield _Entry(array(op, what, parameter), name, slots)

    _wanted_entries = _entries

    def _memory(self) -> list[Array]:
        tensors = [p for group in [*self.param_groups] for p in group["params"]]
        for state in [*self.state.values()]:
            tensors += [value for value in [*state.values()] if isinstance(value, torch.Tensor)]
        found = []
        for tensor in tensors:
            with suppress(TypeError, ValueError):  # of another device, say: no step changes it
                found.append(array("", "", tensor))
        return found

    # ----- what comes back -----------------------------------------------------------------------

    def _restored_settings(self) -> frozenset[str]:
        return frozenset()

    def _make_given(self, names: Collection[str], variables: Names, others: Sequence[Any]) -> None:
        """Have just the state that has values: what is there stays in its place."""
        given: dict[int, set[str]] = {}
        slots: dict[str, set[str]] = {}
        for name in names:
            owner, _, slot = name.rpartition("/")
            slots.setdefault(owner, set()).add(slot)
            match name.split("."):
                case ["param_groups", place, key] if place.isdecimal():
                    given.setdefault(int(place), set()).add(key)
        self._keeping = _Keeping(given)
        wanted = {memory_of(array_of(v)): slots.get(name, set()) for name, v in variables.items()}
        for group, parameter, own_name in self._parameters():
            if parameter.numel():
                memory = memory_of(array(type(self).__name__, "parameter", parameter))
                self._make_slots_of(group, parameter, wanted.get(memory, set()))
            else:  # without memory, it has its own name
                self._make_slots_of(group, parameter, slots.get(own_name or "", set()))

    def _make_slots_of(self, group: Group, parameter: torch.Tensor, given: set[str]) -> None:
        if not given:
            self.state.pop(parameter, None)
            return
        state = self.state[parameter]
        optional = given & (self._optional_slots | state.keys())
        always = [n for n in self._needed(group, parameter) if n not in self._optional_slots]
        names = [*always, *sorted(optional.difference(always))]
        for name in state.keys() - names:
            del state[name]
        state.update(self._begun(group, parameter, names))

    @contextmanager
    def _undone_if_refused(self) -> Iterator[None]:
        kept = [(parameter, own, dict(own)) for parameter, own in self.state.items()]
        self._keeping = _Keeping()
        try:
            yield
        except BaseException:
            self.state.clear()
            for parameter, own, values in kept:
                own.clear()
                own.update(values)
                self.state[parameter] = own
            raise
        finally:
            self._keeping = None

    def _state_was_written(self) -> None:
        copies = () if self._keeping is None else self._keeping.copies.values()
        for owner, key, numbers in copies:
            owner[key] = _restored(owner.get(key), numbers)
        parameters = [p for group in self.param_groups for p in group["params"]]
        torch.autograd.graph.increment_version([p for p in parameters if not p.is_inference()])


def _numbers_of(value: Any) -> Array | None:
    """A number as an array, or several; None of anything else."""
    items = value if isinstance(value, (tuple, list)) else [value]
    found = [_number_of(item) for item in items]
    if not found or None in found:
        return None
    return np.array(found if items is value else found[0], np.float64)


def _number_of(value: Any) -> float | None:
    """A number that a float can hold."""
    if isinstance(value, torch.Tensor):
        is_one = value.numel() == 1 and value.is_floating_point()
        return float(value.detach()) if is_one else None
    if not isinstance(value, Real) or isinstance(value, bool):
        return None
    with suppress(OverflowError):
        number = float(value)
        return number if number == value or math.isnan(number) else None
    return None


def _restored(current: Any, numbers: Any) -> Any:
    """Numbers that were read, in the form of those that are there."""
    if numbers.ndim:
        items = [_restored(*pair) for pair in zip(current, numbers, strict=True)]
        return items if isinstance(current, list) else tuple(items)
    number = numbers.item()
    if isinstance(current, torch.Tensor):
        is_same = _number_of(current) == number
        return current if is_same else torch.full_like(current.detach(), number)
    return int(number) if isinstance(current, int) and float(number).is_integer() else number
