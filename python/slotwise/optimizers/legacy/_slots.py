"""The slots and the config of the legacy API's optimizers with a description."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from slotwise._variable import Variable
from slotwise.optimizers._gradients import Places
from slotwise.optimizers._signature import SPARSE_MODES
from slotwise.optimizers._state import Entry
from slotwise.optimizers.legacy.optimizer import Optimizer


class WithSlots(Optimizer):
    """Makes slots as a description has them; `Described` makes the steps."""

    sparse: str
    _does_more = False  # a hook is overridden

    # ----- state ---------------------------------------------------------------------------------

    def _create_slots(self, var_list: Sequence[Variable]) -> None:
        shapes = [var.shape for var in var_list]
        for i, slot, shape in self.description.slots_of(self._options(), shapes):
            value = 0.0 if slot.initial is None else getattr(self, slot.initial)
            self.add_slot(var_list[i], slot.name, value, shape)

    def _compatible_weights(self, weights: list[Any]) -> list[Any]:
        description, expected = self.description, len(self._weights)
        if description.optional_iterations and len(weights) == expected - 1:
            return [np.zeros((), np.int64), *weights]
        slots = len(self._slot_names)
        if description.spare_slots and slots:
            variables = (expected - 1) // slots
            if len(weights) == 1 + variables * (slots + description.spare_slots):
                return weights[:expected]
        return weights

    # ----- for a step ----------------------------------------------------------------------------

    def _known(self, given: Sequence[Any], places: Places) -> list[Entry]:
        entries = self._met(given, f"{self._name}.apply_gradients", places)
        _ = self.iterations  # which a hook may not have made
        self._create_all_weights([entry.variable for entry in entries])
        if not self._does_more:  # hooks may keep something of their own
            self._variables.keep(entry for entry in self._variables if entry.slots)
        return entries

    def _slot_beside(self, entry: Entry, role: str) -> Variable:
        return entry.slots[self.description.slot_names[role]]

    def _extras(self, entries: Sequence[Entry]) -> tuple[None, None]:
        return None, None

    # ----- config --------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for key in self.description.config:
            if key == "decay":
                config[key] = self._initial_decay
            elif key in self._hyper:
                config[key] = self._serialize_hyperparameter(key)
            else:
                config[key] = getattr(self, key)
        if self.sparse != SPARSE_MODES[0]:
            config["sparse"] = self.sparse
        return config

    def _settings(self) -> dict[str, Any]:
        config, common = self.description.config, super()._settings()
        own = {name: common.pop(name) if name in common else getattr(self, name) for name in config}
        return {**own, **common}
