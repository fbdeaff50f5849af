"""The slots and the config of the current API's optimizers with a description."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from slotwise._variable import Variable
from slotwise.optimizers._gradients import Places
from slotwise.optimizers._kinds import Hyper
from slotwise.optimizers._numbers import rounded
from slotwise.optimizers._signature import SPARSE_MODES
from slotwise.optimizers._state import Entry
from slotwise.optimizers._step import Steps
from slotwise.optimizers.current._keras3 import Weight, weight
from slotwise.optimizers.current.optimizer import Optimizer

DECAYS = {"keras": ("whole",), "lazy": ("touched", "whole")}  # by `sparse`; the default first


class WithSlots(Optimizer):
    """Makes slots as a description has them; `Described` makes the steps."""

    _growing = (*Optimizer._growing, "_slots")
    _extends = True
    sparse: str
    _slots: dict[Entry, dict[str, Variable]]  # by their roles
    _prepared_steps: Steps

    # ----- state ---------------------------------------------------------------------------------

    def build(self, var_list: Sequence[Any]) -> None:
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
        op = f"{self.name}.apply_gradients"
        return [self._entry_of(var, op, at) for var, at in zip(given, places, strict=True)]

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
            if self.sparse_decay != DECAYS[self.sparse][0]:
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
