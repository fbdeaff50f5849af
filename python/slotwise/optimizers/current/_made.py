# SPDX-License-Identifier: Apache-2.0
"""What the current API makes of a description: the constructor, slots and config."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from slotwise._variable import Variable
from slotwise.optimizers import _docs
from slotwise.optimizers._deferred import Flushed
from slotwise.optimizers._description import Parameter
from slotwise.optimizers._gradients import Places
from slotwise.optimizers._kinds import Hyper, OneOf
from slotwise.optimizers._numbers import rounded
from slotwise.optimizers._ranks import OnRanks, Ranks
from slotwise.optimizers._signature import COMM, SPARSE, SPARSE_MODES, kinds_of
from slotwise.optimizers._state import Entry
from slotwise.optimizers._step import Steps
from slotwise.optimizers.current._keras3 import Weight, weight
from slotwise.optimizers.current._settings import PARAMETERS
from slotwise.optimizers.current.optimizer import Optimizer

# By `sparse`; the default first.
_DECAYS = {"keras": ("whole",), "lazy": ("touched", "whole"), "deferred": ("whole",)}

_SPARSE_DECAY = Parameter(
    "sparse_decay", None, OneOf(("touched", "whole", None)), keyword_only=True
)

COMMON = (*PARAMETERS, SPARSE, _SPARSE_DECAY, COMM)  # parameters of all constructors


class Made(OnRanks, Flushed, Optimizer):
    """An optimizer with a description; `Described` makes its steps."""

    _growing = (*Optimizer._growing, "_slots")
    _extends = True
    _frames_to_caller = 4
    sparse: str
    _slots: dict[Entry, dict[str, Variable]]  # by their roles
    _prepared_steps: Steps

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "description" in vars(cls):
            beyond = {_SPARSE_DECAY.name: _SPARSE_DECAY.kind}
            kinds = {**Optimizer._kinds, **beyond, **kinds_of(cls.description)}
            del kinds["learning_rate"]  # a property, which checks it
            cls._kinds = {
                name: kind.number if isinstance(kind, Hyper) else kind
                for name, kind in kinds.items()
            }
            _docs.fill(cls, "current", cls.description, [p.name for p in PARAMETERS])

    def _set_up(self, arguments: dict[str, Any], kwargs: dict[str, Any]) -> None:
        owner, own = type(self).__name__, _SPARSE_DECAY.name
        sparse_decay = _SPARSE_DECAY.kind(owner, own, arguments.pop(own))
        comm = COMM.kind(owner, COMM.name, arguments.pop(COMM.name))
        settings = {p.name: arguments.pop(p.name) for p in PARAMETERS}
        super().__init__(arguments.pop("name"), **settings, **kwargs)
        self._learning_rate = self._build_learning_rate(arguments.pop("learning_rate"))
        for name, value in arguments.items():
            setattr(self, name, value)
        decays = _DECAYS[self.sparse]
        if sparse_decay not in (None, *decays):
            raise ValueError(
                f"{owner}: sparse_decay: expected {OneOf(decays).expected} with "
                f"sparse={self.sparse!r}, got {sparse_decay!r}"
            )
        self.sparse_decay = sparse_decay or decays[0]
        self._check_accumulation()
        self._ranks = None if comm is None else Ranks(comm)
        self._prepared_steps = Steps()
        self._slots = {}

    def _check_accumulation(self) -> None:
        if self._accumulation is not None and self.sparse != "keras":
            raise ValueError(
                f"{type(self).__name__}: gradient_accumulation_steps: expected None with "
                f"sparse={self.sparse!r}, got {self._accumulation}: the mean of gradients has all "
                "rows"
            )

    @property
    def _op(self) -> str:
        return f"{self.name}.apply_gradients"

    # ----- state ---------------------------------------------------------------------------------

    def build(self, var_list: Sequence[Any]) -> None:
        if self._ranks is not None:
            var_list = [self._ranks.here(self, variable) for variable in var_list]
        with self._lock.step(), self._undone_if_refused():
            super().build(var_list)
            self._make_state([entry for entry in self._index_dict if entry not in self._slots])
            self._prepared_steps.forget()  # there may be averages now that they do not have
            self._built = True

    def _make_state(self, entries: list[Entry]) -> None:
        """Make the slots of variables that have none yet."""
        self._slots.update((entry, {}) for entry in entries)
        shapes = [entry.variable.shape for entry in entries]
        for i, slot, shape in self.description.slots_of(self._options(), shapes):
            self._slots[entries[i]][slot.role] = self._add_beside(
                entries[i], slot.name, shape, self._initial(slot.initial)
            )

    def _initial(self, parameter: str | None) -> Any:
        if parameter is None:
            return None
        value = getattr(self, parameter)
        return value if parameter in self.description.exact else rounded(value, np.float64)

    def _weights_in_keras(self, keras: int) -> list[Weight]:
        held = [*self._averages.values(), *self._accumulators.values()]
        return [weight(each, each.dtype) for each in held] + self._slots_in_keras(keras)

    def _slots_in_keras(self, keras: int) -> list[Weight]:
        """The slots of all variables in Keras's order, as if all had been met at first."""
        entries = [*self._index_dict]
        shapes = [entry.variable.shape for entry in entries]
        order = self.description.slots_of(self._options(), shapes)
        slots = [self._slot_beside(entries[i], slot.role) for i, slot, _ in order]
        return [weight(slot, slot.dtype) for slot in slots]

    # ----- for a step ----------------------------------------------------------------------------

    def _known(self, given: Sequence[Any], places: Places) -> list[Entry]:
        return [self._entry_of(var, self._op, at) for var, at in zip(given, places, strict=True)]

    def _slot_beside(self, entry: Entry, role: str) -> Variable:
        slot = self._slots[entry].get(role)
        if slot is not None:
            return slot
        variable = entry.variable
        slots = {slot.role: slot for slot in self.description.slots}
        if slots[role].shape_beside(variable.shape) is None:
            return Variable(np.zeros(0, variable.dtype))  # what the kernel expects instead
        raise ValueError(
            f"{self.name}: expected the options that slot '{slots[role].name}' needs to be set "
            f"before the optimizer is built, got them afterwards: '{variable.name}' has no such "
            "slot"
        )

    def _decays_weights(self) -> bool:
        return bool(self.weight_decay)

    def _extras(self, entries: Sequence[Entry]) -> tuple[list[Variable] | None, list[bool]]:
        averages = [self._average_of(entry) for entry in entries] if self._averages else None
        return averages, [self._use_weight_decay(entry.variable) for entry in entries]

    # ----- config --------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for key in self.description.config:
            value = self._learning_rate if key == "learning_rate" else getattr(self, key)
            config[key] = self._serialize_hyperparameter(value)
        if self.sparse != SPARSE_MODES[0]:
            config["sparse"] = self.sparse
            if self.sparse_decay != _DECAYS[self.sparse][0]:
                config["sparse_decay"] = self.sparse_decay
        return config

    def _settings(self) -> dict[str, Any]:
        names = [name for name in self.description.config if name != "learning_rate"]
        common = super()._settings()
        rate = {"learning_rate": common.pop("learning_rate")}
        return {**rate, **{name: getattr(self, name) for name in names}, **common}

    def _hyperparameters(self) -> dict[str, Any]:
        parameters = self.description.parameters
        own = {p.name: getattr(self, p.name) for p in parameters if isinstance(p.kind, Hyper)}
        own.pop("learning_rate")
        return {**own, **super()._hyperparameters()}
