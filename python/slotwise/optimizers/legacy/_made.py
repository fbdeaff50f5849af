# SPDX-License-Identifier: Apache-2.0
"""What the legacy API makes of a description: the constructor, slots and config."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from slotwise._variable import Variable
from slotwise.optimizers import _docs
from slotwise.optimizers._deferred import Flushed
from slotwise.optimizers._gradients import Places
from slotwise.optimizers._kinds import Hyper, is_function
from slotwise.optimizers._ranks import OnRanks, Ranks
from slotwise.optimizers._signature import COMM, SPARSE, SPARSE_MODES, kinds_of
from slotwise.optimizers._state import Entry
from slotwise.optimizers._step import Steps
from slotwise.optimizers.legacy.optimizer import Optimizer

COMMON = (SPARSE, COMM)  # parameters of all constructors
_BACKEND_EPSILON = 1e-7


class Made(OnRanks, Flushed, Optimizer):
    """An optimizer with a description; `Described` makes its steps."""

    sparse: str
    _prepared_steps: Steps
    _frames_to_caller = 4
    _does_more = False  # a hook is overridden

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "description" in vars(cls):
            cls._kinds = {**Optimizer._kinds, **kinds_of(cls.description)}
            _docs.fill(cls, "legacy", cls.description)

    def _set_up(self, arguments: dict[str, Any], kwargs: dict[str, Any]) -> None:
        super().__init__(arguments.pop("name"), **kwargs)
        self.sparse = arguments.pop("sparse")
        comm = COMM.kind(self._name, COMM.name, arguments.pop(COMM.name))
        self._ranks = None if comm is None else Ranks(comm)
        self._prepared_steps = Steps()
        arguments["learning_rate"] = self._chosen_rate(arguments["learning_rate"], kwargs)
        for parameter in self.description.parameters:
            value = arguments[parameter.name]
            if isinstance(parameter.kind, Hyper):
                self._set_hyper(parameter.name, value)
            elif parameter.name == "epsilon":
                self.epsilon = _BACKEND_EPSILON if value is None else value
                self.epsilon = self.epsilon or _BACKEND_EPSILON
            else:
                setattr(self, parameter.name, value)
        self._set_hyper("decay", self._initial_decay)
        own = [name for name in self.description.options if name in self._hyper]
        self._settled = {name: _is_on(self._hyper[name]) for name in own}

    def _chosen_rate(self, learning_rate: Any, kwargs: dict[str, Any]) -> Any:
        return kwargs.get("lr", learning_rate)

    @property
    def _op(self) -> str:
        return f"{self._name}.apply_gradients"

    def _is_plain(self) -> bool:
        """Whether a call is an update by its own gradients, and no more."""
        return self.gradient_aggregator is None and not self.gradient_transformers

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
        entries = self._met(given, self._op, places)
        _ = self.iterations  # which a hook may not have made
        self._create_all_weights([entry.variable for entry in entries])
        if not self._does_more:  # hooks may keep something of their own
            self._variables.keep(entry for entry in self._variables if entry.slots)
        return entries

    def _slot_beside(self, entry: Entry, role: str) -> Variable:
        return entry.slots[self.description.slot_names[role]]

    def _decays_weights(self) -> bool:
        return False

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


def _is_on(momentum: Any) -> bool:
    """Whether there is momentum for good; a callable or an array may be nonzero later."""
    return bool(
        is_function(momentum) or isinstance(momentum, (Variable, np.ndarray)) or momentum > 0
    )
