# SPDX-License-Identifier: Apache-2.0
"""The base class of the legacy API: hyperparameters, state, and the steps of an update."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from slotwise import _arguments, _autodiff
from slotwise._tables import IndexedSlices, coalesce
from slotwise._variable import Variable, is_float
from slotwise.optimizers import _gradients, _registry, schedules
from slotwise.optimizers._gradients import Pair
from slotwise.optimizers._kinds import FUNCTION, FUNCTIONS, TEXT, Hyper, Kind, Number
from slotwise.optimizers._loss import gradients, recorded, tape_of
from slotwise.optimizers._ranks import Ranks
from slotwise.optimizers._schedule import is_schedule
from slotwise.optimizers._state import constrain, unique_name
from slotwise.optimizers._step import NO_CLIPS, Clips
from slotwise.optimizers.legacy._hyperparameters import Hyperparameters
from slotwise.optimizers.legacy._weights import Weights

ApplyState = dict[tuple[str, np.dtype[Any]], dict[str, Any]]

_NOT_NEGATIVE = Number(at_least=0, words="Expected {name} >= 0, received: {value}")
_LIMIT = replace(_NOT_NEGATIVE, optional=True)
_KEYWORDS: dict[str, Kind] = {
    "clipnorm": _LIMIT,
    "clipvalue": _LIMIT,
    "global_clipnorm": _LIMIT,
    "lr": Hyper(replace(_NOT_NEGATIVE, beside=" or a schedule"), is_rate=True),
    "decay": _NOT_NEGATIVE,
}


@_registry.kind("legacy")
class Optimizer(Weights, Hyperparameters):
    """Base class of the optimizers, and of your own.

    Derive from it to write an optimizer: create slots in ``_create_slots``, update a variable in
    ``_resource_apply_dense`` and, for gradients of rows, ``_resource_apply_sparse``.
    Hyperparameters that may change are kept by ``_set_hyper`` and read by ``_get_hyper``;
    ``_decayed_lr`` is the learning rate of the step.

    Args:
        name: the name in error messages; None or "" for one made from the class.
        gradient_aggregator: a function of a list of (gradient, variable) pairs that returns such a
            list; the first thing that is done to gradients.
        gradient_transformers: functions of the same kind; the last thing.
        kwargs: ``clipvalue`` limits each element of a gradient, ``clipnorm`` the norm of each
            gradient, ``global_clipnorm`` that of all together, in this order; ``decay`` divides the
            learning rate by 1 + decay * iterations; ``lr`` is an old name of ``learning_rate``.

    Raises:
        TypeError: an unknown keyword.
        ValueError: a negative keyword, both norms at once, or clipping beside
            ``gradient_transformers``.

    Example:
        >>> import numpy as np, slotwise
        >>> class Signs(slotwise.optimizers.legacy.Optimizer):
        ...     def __init__(self, learning_rate=0.5, name="Signs", **kwargs):
        ...         super().__init__(name, **kwargs)
        ...         self._set_hyper("learning_rate", learning_rate)
        ...     def _create_slots(self, var_list):
        ...         for var in var_list:
        ...             self.add_slot(var, "sum")
        ...     def _resource_apply_dense(self, grad, var, apply_state=None):
        ...         self.get_slot(var, "sum").assign_add(grad)
        ...         var.assign_sub(self._decayed_lr(var.dtype) * np.sign(grad))
        ...     def _resource_apply_sparse(self, grad, var, indices, apply_state=None):
        ...         var.value[indices] -= self._decayed_lr(var.dtype) * np.sign(grad)
        ...     def get_config(self):
        ...         config = super().get_config()
        ...         config["learning_rate"] = self._serialize_hyperparameter("learning_rate")
        ...         return config
        >>> var = slotwise.Variable(np.array([1.0, 2.0]))
        >>> opt = Signs()
        >>> int(opt.apply_gradients([(np.array([3.0, -4.0]), var)]))
        1
        >>> var.numpy(), opt.get_slot(var, "sum").numpy()
        (array([0.5, 2.5]), array([ 3., -4.]))
    """

    _kinds: ClassVar[Mapping[str, Kind]] = {
        **Hyperparameters._kinds,
        **{name: kind for name, kind in _KEYWORDS.items() if name != "lr"},
        "gradient_aggregator": FUNCTION,
        "gradient_transformers": FUNCTIONS,
    }
    _growing = (*Weights._growing, "_hyper")
    _takes_lists = True
    _ranks: Ranks | None = None  # optimizers with a description may have some
    _HAS_AGGREGATE_GRAD = True  # apply_gradients has experimental_aggregate_gradients
    _frames_to_caller = 3  # of a constructor that calls this class's

    def __init__(
        self,
        name: str | None = None,
        gradient_aggregator: Callable[[Any], Any] | None = None,
        gradient_transformers: Sequence[Callable[[Any], Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        owner = type(self).__name__
        for key, value in kwargs.items():
            if key not in _KEYWORDS:
                raise TypeError(
                    f"Unexpected keyword argument passed to optimizer: {key}. Allowed kwargs are "
                    f"{set(_KEYWORDS)}."
                )
            kwargs[key] = _KEYWORDS[key](owner, key, value)
            if key == "lr":
                message = "The `lr` argument is deprecated, use `learning_rate` instead."
                warnings.warn(message, UserWarning, stacklevel=self._frames_to_caller)
        Hyperparameters.__init__(self, kwargs.get("decay", 0.0))
        Weights.__init__(self)
        self._name = TEXT(owner, "name", name) or unique_name(owner)
        self._clips = dict(NO_CLIPS)
        self.gradient_aggregator = gradient_aggregator
        self.gradient_transformers: Any = gradient_transformers  # a list
        clipnorm, global_clipnorm = kwargs.get("clipnorm"), kwargs.get("global_clipnorm")
        self.clipnorm = clipnorm
        self.global_clipnorm = global_clipnorm
        if clipnorm is not None and global_clipnorm is not None:
            raise ValueError(
                "Cannot accept both `clipnorm` and `global_clipnorm`. Received: "
                f"`clipnorm`={clipnorm}, `global_clipnorm`={global_clipnorm}."
            )
        self.clipvalue = kwargs.get("clipvalue")

    # ----- clipping ------------------------------------------------------------------------------

    def _clips_here(self) -> Clips:
        """The limits of a step; over several ranks they are kept before it."""
        return self._clips if self._ranks is None else NO_CLIPS

    def _limits(self) -> Clips:
        return self._clips

    def _set_clip(self, name: str, value: Any) -> None:
        if value is not None and self.gradient_transformers:
            raise ValueError(
                f"`{name}` cannot be set when `gradient_transformers` is set. Instead, use the "
                "`gradient_transformers` to specify clipping and other transformations. Received: "
                f"val={value}, gradient_transformers={self.gradient_transformers}."
            )
        self._clips[name] = value

    @property
    def clipnorm(self) -> Any:
        """The largest norm of each gradient, or None."""
        return self._clips["clipnorm"]

    @clipnorm.setter
    def clipnorm(self, value: Any) -> None:
        self._set_clip("clipnorm", value)

    @property
    def clipvalue(self) -> Any:
        """The largest magnitude of each element of a gradient, or None."""
        return self._clips["clipvalue"]

    @clipvalue.setter
    def clipvalue(self, value: Any) -> None:
        self._set_clip("clipvalue", value)

    @property
    def global_clipnorm(self) -> Any:
        """The largest norm of all gradients together, or None."""
        return self._clips["global_clipnorm"]

    @global_clipnorm.setter
    def global_clipnorm(self, value: Any) -> None:
        self._set_clip("global_clipnorm", value)

    def _create_all_weights(self, var_list: Sequence[Variable]) -> None:
        _ = self.iterations
        self._create_hypers()
        self._create_slots(var_list)

    # ----- by name -------------------------------------------------------------------------------

    def _own_state(self) -> dict[str, Any]:
        return {**super()._own_state(), **self._hyperparameters()}

    def _hyperparameters(self) -> dict[str, Any]:
        self._hypers_created = False  # a number that took a schedule's place is none yet
        self._create_hypers()
        numbers = {name: x for name, x in self._hyper.items() if not callable(x)}
        numbers.pop("decay", None)  # what counts is in the config
        return numbers

    def _make_slots(self, variables: Sequence[Any], others: Sequence[Any] = ()) -> None:
        entries = self._met(variables, f"{self._name}.load_state_dict")
        self._create_all_weights([entry.variable for entry in entries])

    def _restored_settings(self) -> frozenset[str]:
        return frozenset(n for n, x in self._hyper.items() if not is_schedule(x)) - {"decay"}

    def _settings(self) -> dict[str, Any]:
        clips = {name: value for name, value in self._clips.items() if value is not None}
        return {**self._hyper, **clips, "name": self._name}

    # ----- config --------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as a dict of plain data."""
        set_clips = {name: value for name, value in self._clips.items() if value is not None}
        return {"name": self._name, **set_clips}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, type[Any]] | None = None
    ) -> Any:
        """The optimizer with these constructor's arguments.

        Args:
            config: what `get_config` returned; not changed.
            custom_objects: classes of schedules of your own, by name.

        Example:
            >>> from slotwise.optimizers import legacy
            >>> config = legacy.SGD(0.5, momentum=0.25).get_config()
            >>> legacy.SGD.from_config(config).get_config() == config
            True
        """
        arguments = _arguments.named_of(f"{cls.__name__}.from_config", "config", config)
        if "lr" in arguments:
            arguments["learning_rate"] = arguments.pop("lr")
        schedules.deserialize_in(arguments, custom_objects)
        return cls(**arguments)

    # ----- a step --------------------------------------------------------------------------------

    def minimize(
        self,
        loss: Any,
        var_list: Any,
        grad_loss: Any = None,
        name: str | None = None,
        tape: _autodiff.GradientTape | None = None,
    ) -> Variable | None:
        """Compute the gradients of a loss, and apply them.

        Args:
            loss: a function of no arguments, or a value with the ``tape`` that recorded it.
            var_list: variables, in any nesting of lists and dicts, or a function that returns them.
            grad_loss: the gradient with respect to the loss; ones by default.
            name: accepted for compatibility.
            tape: a `GradientTape`.

        Returns:
            What `apply_gradients` returns.

        Raises:
            ImportError: the autograd package is not installed.
            ValueError: a value without a tape; no variable has a gradient.

        Example:
            >>> import slotwise
            >>> var = slotwise.Variable(1.0)
            >>> opt = slotwise.optimizers.legacy.SGD(learning_rate=0.5)
            >>> int(opt.minimize(lambda: var * var / 2, [var])), float(var)
            (1, 0.5)
        """
        pairs = self._compute_gradients(loss, var_list, grad_loss, tape)
        return self.apply_gradients(pairs, name=name)

    def _compute_gradients(
        self,
        loss: Any,
        var_list: Any,
        grad_loss: Any = None,
        tape: _autodiff.GradientTape | None = None,
    ) -> list[Pair]:
        tape, loss, variables = recorded(loss, var_list, tape, flatten, self._transform_loss)
        pairs = self._get_gradients(tape, loss, variables, grad_loss)
        for grad, var in pairs:
            if grad is not None and not is_float(var.dtype):
                raise ValueError(f"Invalid type {var.dtype} for {var.name}, expected: a float.")
        return pairs

    def _transform_loss(self, loss: Any) -> Any:
        """Hook: the loss that is differentiated."""
        return loss

    def _get_gradients(
        self, tape: _autodiff.GradientTape, loss: Any, var_list: list[Any], grad_loss: Any = None
    ) -> list[Pair]:
        """Hook: the gradients of a loss."""
        return list(zip(gradients(tape, loss, var_list, grad_loss), var_list, strict=True))

    def get_gradients(self, loss: Any, params: Any) -> list[Any]:
        """The gradients of a loss.

        Args:
            loss: a function of no arguments, or a value that a `GradientTape` recorded.
            params: variables, in any nesting of lists and dicts.

        Raises:
            ImportError: the autograd package is not installed.
            TypeError: a loss that no tape recorded.
            ValueError: the loss does not depend on a variable.

        Example:
            >>> import slotwise
            >>> var = slotwise.Variable(3.0)
            >>> opt = slotwise.optimizers.legacy.SGD()
            >>> [float(grad) for grad in opt.get_gradients(lambda: var * var, [var])]
            [6.0]
        """
        pairs = self._compute_gradients(loss, params, tape=tape_of(loss))
        for grad, var in pairs:
            if grad is None:
                raise ValueError(
                    f"Variable {var.name} has `None` for gradient. Please make sure that all of "
                    "your ops have a gradient defined (i.e. are differentiable). Common ops "
                    "without gradient: argmax, round, floor."
                )
        return [grad for grad, _ in pairs]

    def get_updates(self, loss: Any, params: Any) -> list[Any]:
        """Compute the gradients of a loss, and apply them: a step, at once.

        Args:
            loss, params: as of `get_gradients`.

        Returns:
            What `apply_gradients` returns, in a list.

        Raises:
            As of `get_gradients` and `apply_gradients`.

        Example:
            >>> import slotwise
            >>> var = slotwise.Variable(3.0)
            >>> opt = slotwise.optimizers.legacy.SGD(0.5)
            >>> [count] = opt.get_updates(lambda: var * var / 2, [var])
            >>> int(count), float(var)
            (1, 1.5)
        """
        grads = self.get_gradients(loss, params)
        return [self.apply_gradients(zip(grads, flatten(params), strict=True))]

    def apply_gradients(
        self,
        grads_and_vars: Iterable[Any],
        name: str | None = None,
        experimental_aggregate_gradients: bool = True,
    ) -> Variable | None:
        """Update variables by their gradients.

        Args:
            grads_and_vars: pairs of a gradient and a variable. The gradient is an array, a
                `slotwise.Variable` or `slotwise.IndexedSlices` of the variable's dtype, or a number
                or a list of numbers; the variable a `slotwise.Variable` or a bare array. A variable
                is known by its memory: another view of it is the same variable. Pairs whose
                gradient is None are left out.
            name: accepted for compatibility.
            experimental_aggregate_gradients: whether ``gradient_aggregator`` is called.

        Returns:
            `iterations`, which is one more; None if there are no pairs.

        Raises:
            ValueError: no variable has a gradient; an argument that does not fit.
            TypeError: no pairs; a dtype that does not fit.
            RuntimeError: a sparse gradient of a variable with a constraint.
            Of the optimizers built in, whatever the error, nothing was updated.

        Example:
            >>> import numpy as np, slotwise
            >>> table = np.zeros((3, 1))
            >>> grad = slotwise.IndexedSlices(np.ones((2, 1)), np.array([2, 2]), (3, 1))
            >>> opt = slotwise.optimizers.legacy.SGD(0.5)
            >>> int(opt.apply_gradients([(grad, table)])), table[:, 0]
            (1, array([ 0.,  0., -1.]))
        """
        op = f"{self._name}.apply_gradients"
        given = _gradients.accepted(op, _gradients.pairs_of(op, grads_and_vars), lists=True)
        given, places = _gradients.present(given)
        with self._lock.step():
            with self._undone_if_refused():
                variables = [
                    entry.variable for entry in self._met([var for _, var in given], op, places)
                ]
                self._create_all_weights(variables)
                if not given:
                    return None
                apply_state = self._prepare(variables)
                pairs = [(grad, var) for (grad, _), var in zip(given, variables, strict=True)]
                if experimental_aggregate_gradients:
                    pairs = self._transform_unaggregated_gradients(pairs)
                    pairs = self._aggregate_gradients(pairs)
                pairs = _gradients.accepted(op, self._transform_gradients(pairs), lists=True)
                _gradients.refuse_constrained_rows(pairs, [var for _, var in pairs])
            self._apply(pairs, apply_state)
            return self.iterations.assign_add(1)

    def _transform_unaggregated_gradients(self, grads_and_vars: list[Pair]) -> list[Pair]:
        """Hook: what is done before aggregation."""
        return grads_and_vars

    def _aggregate_gradients(self, grads_and_vars: list[Pair]) -> list[Pair]:
        """Hook: aggregates gradients."""
        if self.gradient_aggregator is None:
            return grads_and_vars
        return list(self.gradient_aggregator(tuple(grads_and_vars)))

    def _transform_gradients(self, grads_and_vars: list[Pair]) -> list[Pair]:
        """Hook: clips gradients, then calls the transformers."""
        grads_and_vars = _gradients.clip(grads_and_vars, **self._clips_here())
        for transformer in self.gradient_transformers:
            grads_and_vars = transformer(grads_and_vars)
        return grads_and_vars

    def _prepare(self, var_list: Sequence[Variable]) -> ApplyState:
        """What is the same for all variables of a dtype, by device and dtype."""
        apply_state: ApplyState = {}
        for key in {(var.device, var.dtype) for var in var_list}:
            apply_state[key] = {}
            self._prepare_local(*key, apply_state)
        return apply_state

    def _prepare_local(
        self, var_device: str, var_dtype: np.dtype[Any], apply_state: ApplyState
    ) -> None:
        """Hook: fill ``apply_state[var_device, var_dtype]``, once a step."""
        if "learning_rate" in self._hyper:
            apply_state[var_device, var_dtype]["lr_t"] = self._decayed_lr(var_dtype)

    def _fallback_apply_state(self, var_device: str, var_dtype: np.dtype[Any]) -> dict[str, Any]:
        """What `_prepare_local` fills in, for a variable that was not prepared."""
        apply_state: ApplyState = {(var_device, var_dtype): {}}
        self._prepare_local(var_device, var_dtype, apply_state)
        return apply_state[var_device, var_dtype]

    def _apply(self, pairs: Sequence[Pair], apply_state: ApplyState) -> None:
        _gradients.mark_touched(pairs, only_rows=False)  # what a hook changes is not known
        for grad, var in pairs:
            if isinstance(grad, IndexedSlices):
                self._call(
                    self._resource_apply_sparse_duplicate_indices,
                    apply_state,
                    grad.values,
                    var,
                    grad.indices,
                )
            else:
                self._call(self._resource_apply_dense, apply_state, np.asarray(grad), var)
                constrain(var)

    @staticmethod
    def _call(hook: Callable[..., Any], apply_state: ApplyState, *args: Any) -> Any:
        """Calls a hook, which need not have the argument `apply_state`."""
        parameters = inspect.signature(hook).parameters.values()
        takes_state = any(
            p.name == "apply_state" or p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters
        )
        return hook(*args, **({"apply_state": apply_state} if takes_state else {}))

    # ----- what an optimizer of your own defines -------------------------------------------------

    def _create_slots(self, var_list: Sequence[Variable]) -> None:
        """Hook: call `add_slot` for variables that are about to be updated."""

    def _resource_apply_dense(self, grad: Any, var: Variable, apply_state: ApplyState) -> Any:
        """Hook: update a variable by a gradient."""
        raise NotImplementedError("Must be implemented in subclasses: _resource_apply_dense")

    def _resource_apply_sparse(
        self, grad: Any, var: Variable, indices: Any, apply_state: ApplyState
    ) -> Any:
        """Hook: update rows of a variable by their gradients; no row is named twice."""
        raise NotImplementedError("Must be implemented in subclasses: _resource_apply_sparse")

    def _resource_apply_sparse_duplicate_indices(
        self, grad: Any, var: Variable, indices: Any, **kwargs: Any
    ) -> Any:
        """Hook: the same, where rows may be named repeatedly; sums their gradients first."""
        unique, summed = coalesce(indices, grad, var.shape[0])
        state = kwargs.get("apply_state", {})
        return self._call(self._resource_apply_sparse, state, summed, var, unique)


def flatten(variables: Any) -> list[Any]:
    """The variables in nested lists and dicts, the latter by their sorted keys."""
    if isinstance(variables, dict):
        return [v for key in sorted(variables) for v in flatten(variables[key])]
    if isinstance(variables, (list, tuple)):
        return [v for item in variables for v in flatten(item)]
    return [variables]
