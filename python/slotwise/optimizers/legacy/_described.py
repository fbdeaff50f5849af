"""The legacy API's classes, made from descriptions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from slotwise._tables import IndexedSlices
from slotwise._variable import Variable
from slotwise.optimizers import _docs, _gradients
from slotwise.optimizers._description import Float
from slotwise.optimizers._gradients import Pair, Places
from slotwise.optimizers._kinds import Hyper, is_function
from slotwise.optimizers._planned import NO_CLIPS, Planned
from slotwise.optimizers._signature import SPARSE, SPARSE_MODES, kinds_of
from slotwise.optimizers._state import Entry, constrain
from slotwise.optimizers._step import Plan, Plans
from slotwise.optimizers.legacy.optimizer import (
    ApplyState,
    Optimizer,
    refuse_sparse_constraints,
)

COMMON = (SPARSE,)  # parameters of all constructors
_BACKEND_EPSILON = 1e-7

# Whoever overrides one of these has something of their own done in each step.
_HOOKS = (
    "_aggregate_gradients",
    "_apply",
    "_create_all_weights",
    "_prepare",
    "_prepare_local",
    "_resource_apply_dense",
    "_resource_apply_sparse",
    "_resource_apply_sparse_duplicate_indices",
    "_transform_gradients",
    "_transform_unaggregated_gradients",
)
_APPLY_HOOKS = tuple(name for name in _HOOKS if name.startswith("_resource"))


class Described(Optimizer, Planned):
    """An optimizer with a description, whose step is one call into the extension."""

    _frames_to_caller = 4
    _does_more = False  # a hook is overridden
    _applies_itself = False  # one of those that update a variable

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        changed = {name for name in _HOOKS if getattr(cls, name) is not getattr(Described, name)}
        cls._does_more = bool(changed)
        cls._applies_itself = not changed.isdisjoint(_APPLY_HOOKS)
        if "description" in vars(cls):
            cls._kinds = {**Optimizer._kinds, **kinds_of(cls.description)}
            _docs.fill(cls, "legacy", cls.description)

    def _set_up(self, arguments: dict[str, Any], kwargs: dict[str, Any]) -> None:
        super().__init__(arguments.pop("name"), **kwargs)
        self.sparse = arguments.pop("sparse")
        self._plans = Plans()
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
        if "momentum" in arguments:
            self._momentum = _is_on(self._hyper["momentum"])

    def _chosen_rate(self, learning_rate: Any, kwargs: dict[str, Any]) -> Any:
        return kwargs.get("lr", learning_rate)

    # ----- state and config ----------------------------------------------------------------------

    def _create_slots(self, var_list: Sequence[Variable]) -> None:
        shapes = [var.shape for var in var_list]
        for i, slot, shape in self.description.slots_of(self, shapes):
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

    # ----- a step --------------------------------------------------------------------------------

    def apply_gradients(
        self,
        grads_and_vars: Iterable[Any],
        name: str | None = None,
        experimental_aggregate_gradients: bool = True,
    ) -> Variable | None:
        pairs = _gradients.pairs_of(self._op, grads_and_vars)
        if self._does_more or self.gradient_aggregator is not None or self.gradient_transformers:
            return super().apply_gradients(pairs, name, experimental_aggregate_gradients)
        with self._lock.step():
            if self._ran_latest(pairs):
                return self.iterations
            pairs = _gradients.accepted(self._op, pairs, self._takes_lists)
            pairs, places = _gradients.present(pairs)
            if not pairs:
                self._create_all_weights([])
                return None
            self._update(pairs, places, self._clips, counts=True)
        return self.iterations

    def _ran_latest(self, pairs: list[Pair]) -> bool:
        """Whether the latest plan is for these, and has been run."""
        plan = self._latest_for(pairs)
        if plan is None or not _is_whole(plan):
            return False
        self._run(plan, pairs, self._clips, counts=True)
        self._constrain(plan)
        return True

    def _apply(self, pairs: Sequence[Pair], apply_state: ApplyState) -> None:
        if self._applies_itself:
            super()._apply(pairs, apply_state)
        else:
            self._update(list(pairs), range(len(pairs)), NO_CLIPS, counts=False)

    def _update(
        self, pairs: list[Pair], places: Places, clips: dict[str, Any], counts: bool
    ) -> None:
        """One step of these variables, by a plan for just them."""
        plan = self._find_plan(pairs, places)
        if plan is None:
            with self._undone_if_refused():
                plan = self._new_plan(pairs, places)
                self._run(plan, pairs, clips, counts=counts, only_check=not _is_whole(plan))
            self._plans.add(plan)
        else:
            self._run(plan, pairs, clips, counts=counts, only_check=not _is_whole(plan))
        if _is_whole(plan):
            self._constrain(plan)
            return
        pairs = _gradients.clip(pairs, **clips)
        for i, (pair, place) in enumerate(zip(pairs, places, strict=True)):
            self._update([pair], (place,), NO_CLIPS, counts and i == len(pairs) - 1)

    def _steps(
        self, plan: Plan, pairs: list[Pair], clips: dict[str, Any], *around: Any
    ) -> list[tuple[Any, ...]]:
        if plan.constrained:
            grads = [grad for grad, _ in pairs]
            refuse_sparse_constraints(zip(grads, plan.variables, strict=True))
        return super()._steps(plan, pairs, clips, *around)

    def _prepared(self, given: Sequence[Any], places: Places) -> list[Entry]:
        entries = self._met(given, self._op, places)
        self._create_all_weights([entry.variable for entry in entries])
        if not self._does_more:  # hooks may keep something of their own
            self._variables.keep(entry for entry in self._variables if entry.slots)
        return entries

    def _slot_beside(self, entry: Entry, role: str) -> Variable:
        return entry.slots[self.description.slot_names[role]]

    def _rate(self, kind: type[Float]) -> Float:
        return self._decayed_lr(np.dtype(kind))

    def _value_of(self, name: str) -> Any:
        return self._get_hyper(name) if name in self._hyper else getattr(self, name)

    @staticmethod
    def _constrain(plan: Plan) -> None:
        for var in plan.constrained:
            constrain(var)

    def _resource_apply_dense(
        self, grad: Any, var: Variable, apply_state: ApplyState | None = None
    ) -> Any:
        self._update_one(grad, var)

    def _resource_apply_sparse(
        self, grad: Any, var: Variable, indices: Any, apply_state: ApplyState | None = None
    ) -> Any:
        self._update_one(IndexedSlices(grad, indices, var.shape), var)

    def _update_one(self, grad: Any, var: Variable) -> None:
        pairs = [(grad, var)]
        self._run(self._plan_for(pairs, (0,)), pairs, NO_CLIPS)


def _is_whole(plan: Plan) -> bool:
    """Whether its variables may be updated at once.

    If not, each update is to see what the constraint made of the one before.
    """
    return not (plan.repeats and plan.constrained)


def _is_on(momentum: Any) -> bool:
    """Whether there is momentum for good; a callable or an array may be nonzero later."""
    return bool(
        is_function(momentum) or isinstance(momentum, (Variable, np.ndarray)) or momentum > 0
    )
