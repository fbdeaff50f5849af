"""The legacy API's classes, made from descriptions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from slotwise._tables import IndexedSlices
from slotwise._variable import Variable
from slotwise.optimizers import _gradients
from slotwise.optimizers._description import (
    Description,
    Float,
    Kind,
    Scope,
    Update,
    power,
)
from slotwise.optimizers._gradients import Pair
from slotwise.optimizers._plan import Plan, Plans
from slotwise.optimizers.legacy._hyperparameters import rounded
from slotwise.optimizers.legacy.optimizer import (
    NO_CLIPS,
    ApplyState,
    Optimizer,
    constrain,
    refuse_sparse_constraints,
)

SPARSE_MODES = ("keras", "lazy")
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


def signature(description: Description) -> inspect.Signature:
    """The signature of the constructor."""
    keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter("self", keyword)]
    name = inspect.Parameter("name", keyword, default=description.name)
    last = []
    for p in description.parameters:
        if p.name == description.name_before:
            parameters.append(name)
        if p.keyword_only:
            last.append(
                inspect.Parameter(p.name, inspect.Parameter.KEYWORD_ONLY, default=p.default)
            )
        else:
            parameters.append(inspect.Parameter(p.name, keyword, default=p.default))
    if description.name_before is None:
        parameters.append(name)
    last += [
        inspect.Parameter("sparse", inspect.Parameter.KEYWORD_ONLY, default=SPARSE_MODES[0]),
        inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
    ]
    return inspect.Signature([*parameters, *last])


def constructor(description: Description) -> Callable[..., None]:
    """The constructor, with its signature."""
    expected = signature(description)

    def __init__(self: Described, *args: Any, **kwargs: Any) -> None:
        bound = expected.bind(self, *args, **kwargs)
        bound.apply_defaults()
        arguments = dict(bound.arguments)
        del arguments["self"]
        self._set_up(arguments, arguments.pop("kwargs"))

    __init__.__signature__ = expected  # type: ignore[attr-defined]
    __init__.__doc__ = None
    return __init__


class Numbers:
    """The numbers of one step, in the type that is computed in."""

    def __init__(self, optimizer: Described, kind: type[Float]) -> None:
        self.optimizer = optimizer
        self.type = kind
        self.step = optimizer._step_count() + 1

    @property
    def lr(self) -> Float:
        return self.optimizer._decayed_lr(np.dtype(self.type))

    def __getitem__(self, name: str) -> Float:
        parameter = self.optimizer.description.by_name[name]
        if parameter.kind is Kind.HYPER:
            return rounded(self.optimizer._get_hyper(name), self.type)
        value = getattr(self.optimizer, name)
        return rounded(value, self.type) if parameter.through_float32 else self.type(value)

    def power(self, name: str) -> Float:
        return power(self[name], self.step)


class Described(Optimizer):
    """An optimizer with a description, whose step is one call into the extension."""

    description: Description
    sparse: str
    _frames_to_caller = 4
    _does_more = False  # a hook is overridden
    _applies_itself = False  # one of those that update a variable

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        changed = {name for name in _HOOKS if getattr(cls, name) is not getattr(Described, name)}
        cls._does_more = bool(changed)
        cls._applies_itself = not changed.isdisjoint(_APPLY_HOOKS)

    def _set_up(self, arguments: dict[str, Any], kwargs: dict[str, Any]) -> None:
        sparse = arguments.pop("sparse")
        if sparse not in SPARSE_MODES:
            expected = " or ".join(repr(mode) for mode in SPARSE_MODES)
            raise ValueError(f"sparse: expected {expected}, got {sparse!r}")
        super().__init__(arguments.pop("name"), **kwargs)
        self.sparse = sparse
        self._plans = Plans()
        arguments["learning_rate"] = self._chosen_rate(arguments["learning_rate"], kwargs)
        for parameter in self.description.parameters:
            value = arguments[parameter.name]
            if parameter.check is not None:
                parameter.check(parameter.name, value)
            if parameter.kind is Kind.HYPER:
                self._set_hyper(parameter.name, value)
            else:
                is_epsilon = parameter.name == "epsilon"
                setattr(self, parameter.name, (value or _BACKEND_EPSILON) if is_epsilon else value)
        self._set_hyper("decay", self._initial_decay)
        if "momentum" in arguments:
            self._momentum = _is_on(arguments["momentum"])

    def _chosen_rate(self, learning_rate: Any, kwargs: dict[str, Any]) -> Any:
        return kwargs.get("lr", learning_rate)

    # ----- state and config ----------------------------------------------------------------------

    def _create_slots(self, var_list: Sequence[Variable]) -> None:
        slots = [s for s in self.description.slots if s.exists is None or s.exists(self)]
        if self.description.interleaved:
            order = [(slot, var) for var in var_list for slot in slots]
        else:
            order = [(slot, var) for slot in slots for var in var_list]
        for slot, var in order:
            value = 0.0 if slot.initial is None else getattr(self, slot.initial)
            self.add_slot(var, slot.name, value)

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

    # ----- a step --------------------------------------------------------------------------------

    def apply_gradients(
        self,
        grads_and_vars: Iterable[Any],
        name: str | None = None,
        experimental_aggregate_gradients: bool = True,
    ) -> Variable | None:
        pairs = list(grads_and_vars)
        if self._does_more or self.gradient_aggregator is not None or self.gradient_transformers:
            return super().apply_gradients(pairs, name, experimental_aggregate_gradients)
        plan = self._plans.latest
        if plan is not None and self._is_for(plan, pairs):
            self._run(plan, pairs, self._clips)
            self._constrain(plan)
        else:
            pairs = _gradients.present(pairs)
            if not pairs:
                self._create_all_weights([])
                return None
            self._update(pairs, self._clips)
        return self.iterations.assign_add(1)

    def _apply(self, pairs: Sequence[Pair], apply_state: ApplyState) -> None:
        if self._applies_itself:
            super()._apply(pairs, apply_state)
        else:
            self._update(list(pairs), NO_CLIPS)

    def _update(self, pairs: list[Pair], clips: dict[str, Any]) -> None:
        """One step of these variables, by a plan for just them."""
        given = [var for _, var in pairs]
        refuse_sparse_constraints((grad, self._variables.find(var)) for grad, var in pairs)
        plan = self._plans.find(self._current_update(), given)
        if plan is None:
            plan = self._new_plan(given)
        if plan.repeats and plan.constrained:  # each update sees what the constraint made before
            for pair in _gradients.clip(pairs, **clips):
                self._update([pair], NO_CLIPS)
            return
        self._run(plan, pairs, clips)
        self._constrain(plan)

    def _new_plan(self, given: Sequence[Any]) -> Plan:
        variables = [self._variables.find(var) for var in given]
        self._create_all_weights(variables)
        update = self._current_update()
        slots = [[self.get_slot(var, name) for name in update.slots] for var in variables]
        plan = Plan(f"{self._name}.apply_gradients", update, given, variables, slots)
        self._plans.add(given, plan)
        return plan

    def _current_update(self) -> Update:
        return self.description.update(self)

    def _is_for(self, plan: Plan, pairs: list[Pair]) -> bool:
        """Whether a plan does all that there is to be done for these pairs."""
        is_whole = not (plan.repeats and plan.constrained)
        return is_whole and plan.update == self._current_update() and plan.matches(pairs)

    def _run(self, plan: Plan, pairs: list[Pair], clips: dict[str, Any]) -> None:
        """Update the variables of a plan."""
        if plan.constrained:
            refuse_sparse_constraints(pairs)
        hypers = tuple(self._coefficients(plan, kind) for kind in plan.types)
        scope: Scope = plan.update.scope if self.sparse == "keras" else "rows"
        _gradients.mark_touched(pairs, only_rows=scope == "rows")
        plan.apply(
            pairs,
            hypers,
            plan.update.attrs,
            clips["clipvalue"],
            clips["clipnorm"],
            clips["global_clipnorm"],
            scope,
        )
        self._finish(plan)

    @staticmethod
    def _constrain(plan: Plan) -> None:
        for var in plan.constrained:
            constrain(var)

    def _coefficients(self, plan: Plan, kind: type[Float] | None) -> tuple[Any, ...] | None:
        """What the kernel takes, in its order, for the variables that are computed in a type."""
        if kind is None:
            return None
        values = self.description.coefficients(Numbers(self, kind))
        return tuple(float(values[name]) for name in plan.names)

    def _finish(self, plan: Plan) -> None:
        """Called after the variables of a plan were updated."""

    def _resource_apply_dense(
        self, grad: Any, var: Variable, apply_state: ApplyState | None = None
    ) -> Any:
        self._update_one(grad, var)

    def _resource_apply_sparse(
        self, grad: Any, var: Variable, indices: Any, apply_state: ApplyState | None = None
    ) -> Any:
        self._update_one(IndexedSlices(grad, indices, var.shape), var)

    def _update_one(self, grad: Any, var: Variable) -> None:
        plan = self._plans.find(self._current_update(), [var]) or self._new_plan([var])
        self._run(plan, [(grad, var)], NO_CLIPS)


def _is_on(momentum: Any) -> bool:
    """Whether there is momentum for good; a callable or an array may be nonzero later."""
    return callable(momentum) or isinstance(momentum, (Variable, np.ndarray)) or momentum > 0
