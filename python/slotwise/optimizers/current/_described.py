"""The current API's classes, made from descriptions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from slotwise._tables import IndexedSlices
from slotwise._variable import Variable
from slotwise.optimizers import _docs, _gradients
from slotwise.optimizers._description import Parameter
from slotwise.optimizers._gradients import Pair, Places
from slotwise.optimizers._kinds import Hyper, OneOf
from slotwise.optimizers._numbers import rounded
from slotwise.optimizers._planned import NO_CLIPS, Planned
from slotwise.optimizers._signature import SPARSE, SPARSE_MODES, kinds_of
from slotwise.optimizers._state import Entry, constrain
from slotwise.optimizers._step import Plan, Plans
from slotwise.optimizers.current._keras3 import Weight, weight
from slotwise.optimizers.current.optimizer import PARAMETERS, Optimizer

_DECAYS = {"keras": ("whole",), "lazy": ("touched", "whole")}  # the default first

_SPARSE_DECAY = Parameter(
    "sparse_decay", None, OneOf(("touched", "whole", None)), keyword_only=True
)

COMMON = (*PARAMETERS, SPARSE, _SPARSE_DECAY)  # parameters of all constructors

# Whoever overrides one of these has something of their own done in each step.
_HOOKS = ("aggregate_gradients", "update_step")


class Described(Optimizer, Planned):
    """An optimizer with a description, whose step is one call into the extension."""

    _growing = (*Optimizer._growing, "_slots")
    _extends = True
    _frames_to_caller = 4
    _does_more = False  # a hook is overridden
    _updates_itself = False  # it is update_step
    _of_part: Any = None  # a number that differs within a step; see _split

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        changed = [name for name in _HOOKS if getattr(cls, name) is not getattr(Described, name)]
        cls._does_more = bool(changed)
        cls._updates_itself = "update_step" in changed
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
        owner = type(self).__name__
        sparse_decay = _SPARSE_DECAY.kind(
            owner, _SPARSE_DECAY.name, arguments.pop(_SPARSE_DECAY.name)
        )
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
        self._plans = Plans()
        self._slots: dict[Entry, dict[str, Variable]] = {}  # by their roles

    # ----- state and config ----------------------------------------------------------------------

    def build(self, var_list: Sequence[Any]) -> None:
        with self._lock.step(), self._undone_if_refused():
            super().build(var_list)
            self._make_state([entry for entry in self._index_dict if entry not in self._slots])
            self._built = True

    def _make_state(self, entries: list[Entry]) -> None:
        """Make the slots of variables that have none yet."""
        self._slots.update((entry, {}) for entry in entries)
        shapes = [entry.variable.shape for entry in entries]
        for i, slot, shape in self.description.slots_of(self, shapes):
            self._slots[entries[i]][slot.role] = self._add_beside(
                entries[i], slot.name, shape, self._initial(slot.initial)
            )

    def _weights_in_keras(self, keras: int) -> list[Weight]:
        held = [*self._averages.values(), *self._accumulators.values()]
        return [weight(each, each.dtype) for each in held] + self._slots_in_keras(keras)

    def _slots_in_keras(self, keras: int) -> list[Weight]:
        """The slots of all variables in Keras's order, as if all had been met at first."""
        entries = [*self._index_dict]
        shapes = [entry.variable.shape for entry in entries]
        order = self.description.slots_of(self, shapes)
        slots = [self._slot_beside(entries[i], slot.role) for i, slot, _ in order]
        return [weight(slot, slot.dtype) for slot in slots]

    def _initial(self, parameter: str | None) -> Any:
        if parameter is None:
            return None
        value = getattr(self, parameter)
        is_rounded = self.description.by_name[parameter].through_float32
        return rounded(value, np.float64) if is_rounded else value

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

    # ----- a step --------------------------------------------------------------------------------

    def apply_gradients(
        self,
        grads_and_vars: Iterable[Any],
        name: str | None = None,
        skip_gradients_aggregation: bool = False,
        **kwargs: Any,
    ) -> Variable:
        pairs = _gradients.pairs_of(self._op, grads_and_vars)
        if not self._does_more and self._is_plain():
            with self._lock.step():
                if self._ran_latest(pairs):
                    return self._iterations
        return super().apply_gradients(pairs, name, skip_gradients_aggregation, **kwargs)

    def _ran_latest(self, pairs: list[Pair]) -> bool:
        """Whether the latest plan is for these, and has been run."""
        plan = self._latest_for(pairs)
        if plan is None or plan.repeats:
            return False
        self._compute_current_learning_rate()
        self._step(plan, pairs)
        for var in plan.constrained:
            constrain(var)
        return True

    def _step_of(self, pairs: list[Pair]) -> list[Variable]:
        if self._updates_itself:
            return super()._step_of(pairs)
        present, places = _gradients.present(pairs)
        plan = self._find_plan(present, places)
        if plan is None:
            with self._undone_if_refused():
                self._build_for(pairs)
                plan = self._new_plan(present, places)
                self._step(plan, present)
            self._plans.add(plan)
        else:
            self._step(plan, present)
        if plan.repeats:  # which was checked
            known = zip(present, plan.variables, strict=True)
            self._update([(grad, var) for (grad, _), var in known])
            self._iterations.assign_add(1)
        return plan.constrained

    def _step(self, plan: Plan, pairs: list[Pair]) -> None:
        """One step of the variables of a plan, and what surrounds it, in one pass."""
        decay = average = None
        weight_decay = self._decay_before()
        if weight_decay:
            decay = tuple(
                kind and (float(rounded(weight_decay, kind)), float(self._rate(kind)))
                for kind in plan.types
            )
        if self.use_ema:
            if not plan.has_averages:
                self._average_of(self._entry_of(plan.variables[0], self._op))
            average = (self._momentum_of_average(), self._overwrites())
        is_last = not plan.repeats
        around = decay, average, self._around
        self._run(plan, pairs, self._clips(), *around, counts=is_last, only_check=plan.repeats)

    def _check_accumulation(self) -> None:
        if self._accumulation is not None and self.sparse == "lazy":
            raise ValueError(
                f"{type(self).__name__}: gradient_accumulation_steps: expected None with "
                f"sparse='lazy', got {self._accumulation}: the mean of gradients has all rows"
            )

    @property
    def _around(self) -> str:
        """The rows that decay, and whose average follows, as the extension calls them."""
        return "rows" if self.sparse_decay == "touched" else "whole"

    def _others(self, entries: Iterable[Entry]) -> list[Entry]:
        return [] if self.sparse_decay == "touched" else super()._others(entries)

    def _rows_around(self, gradient: Any) -> Any:
        is_of_rows = isinstance(gradient, IndexedSlices) and self.sparse_decay == "touched"
        return gradient.indices if is_of_rows else ...

    def _steps(
        self, plan: Plan, pairs: list[Pair], clips: dict[str, Any], *around: Any
    ) -> list[tuple[Any, ...]]:
        if self.description.needs_dense_shape and self.sparse == "keras":
            for (grad, _), var in zip(pairs, plan.variables, strict=True):
                if (
                    _gradients.is_slices(grad)
                    and _gradients.plain(grad, self._op).dense_shape is None
                ):
                    raise ValueError(
                        "Tensor conversion requested for IndexedSlices for variable "
                        f"'{var.name}' without dense_shape: {grad}"
                    )
        parts = self._split(plan, pairs)
        if len(parts) == 1:
            self._of_part = parts[0][0]
            return super()._steps(plan, pairs, clips, *around)
        steps = []
        clipped = _gradients.clip(_gradients.accepted(self._op, pairs, self._takes_lists), **clips)
        for self._of_part, numbers in parts:
            part = [clipped[i] for i in numbers]
            part_plan = self._plan_for(part, [plan.places[i] for i in numbers])
            steps += super()._steps(part_plan, part, NO_CLIPS, *around)
        return steps

    def _split(self, plan: Plan, pairs: list[Pair]) -> Sequence[tuple[Any, Sequence[int]]]:
        """The numbers of pairs that the same goes for, each with what becomes ``_of_part``."""
        return [(None, range(len(pairs)))]

    def _prepared(self, given: Sequence[Any], places: Places) -> list[Entry]:
        known = zip(given, places, strict=True)
        return [self._entry_of(var, self._op, place) for var, place in known]

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

    def _extras(self, entries: Sequence[Entry]) -> tuple[Any, ...]:
        averages = [self._average_of(entry) for entry in entries] if self._averages else None
        return averages, [self._use_weight_decay(entry.variable) for entry in entries]

    def update_step(self, gradient: Any, variable: Variable) -> None:
        """The update of a variable by a gradient, without what surrounds it."""
        pairs, around = [(gradient, variable)], (None, None, self._around)
        self._run(self._plan_for(pairs, (0,)), pairs, NO_CLIPS, *around)

    @property
    def _name(self) -> str:  # type: ignore[override]
        return self.name

    @property
    def _momentum(self) -> bool:
        """Whether RMSprop has momentum."""
        return bool(self._value_of("momentum") > 0)
