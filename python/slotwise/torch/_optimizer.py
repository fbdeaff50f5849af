# SPDX-License-Identifier: Apache-2.0
"""What the optimizers here share: a step by our kernels, under a class of torch.optim.

The parameters of a group that have been updated equally often make up a `Part`, with a plan of the
extension over their memory and their state's. A part is made when its parameters first have
gradients together; before each step, all that it refers to is compared with what there is.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from operator import is_
from typing import Any, ClassVar, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim import optimizer as _base

from slotwise import _core, _tracking
from slotwise._tables import IndexedSlices
from slotwise.optimizers._deferred import MODE as DEFERRED
from slotwise.optimizers._gradients import mark_touched
from slotwise.optimizers._kinds import NOT_NEGATIVE, Number, OneOf
from slotwise.optimizers._signature import SPARSE_MODES
from slotwise.torch import _state
from slotwise.torch._gradients import slices_of
from slotwise.torch._memory import are_held, array, full_like, in_order, order_of

Group: TypeAlias = _state.Group
Pair: TypeAlias = tuple[Any, torch.nn.Parameter]
Given: TypeAlias = tuple[Any, NDArray[Any]]  # a gradient and its variable
Work: TypeAlias = "tuple[Part, list[Pair]]"

_is_profiled = torch.autograd._profiler_enabled

_SPARSE, _BETA = OneOf(SPARSE_MODES[:2]), Number(at_least=0, below=1)


class Kernel(NamedTuple):
    """What updates some parameters of a group.

    Attributes:
        rule: the rule's name.
        slots: the names of its state, in the order of the rule's slots; "" is one that these
            parameters do not need.
        attrs: the rule's attributes.
        dtype: of the parameters, if their numbers depend on it.
    """

    rule: str
    slots: tuple[str, ...] = ()
    attrs: tuple[bool, ...] = ()
    dtype: torch.dtype | None = None


class Numbers(NamedTuple):
    """What one step of a part takes, computed in double precision.

    Attributes:
        hypers: of the rule, in its order.
        counters: what is counted, after this step.
        decay: weight decay apart from the gradient, and the learning rate that it is scaled by.
        gradient: scale and decay: the rule sees scale * g + decay * p.
    """

    hypers: tuple[float, ...]
    counters: tuple[float, ...] = ()
    decay: tuple[float, float] | None = None
    gradient: tuple[float, float] | None = None


class Optimizer(_state.Kept, torch.optim.Optimizer):
    """The base of all optimizers here: a torch.optim.Optimizer whose step is one call.

    A class names a kernel and its numbers. Arguments, defaults, state and groups are those of the
    class of torch.optim that it derives from as well.

    Args:
        sparse: what a sparse gradient means, of ``torch.nn.Embedding(sparse=True)``, say. "lazy":
            only rows that it has are updated; "keras": the others as well, by a gradient of zero.
            A group may have its own.

    Raises:
        ValueError: an option that this library cannot honour (``capturable``, ``differentiable``).
    """

    _counters: ClassVar[tuple[str, ...]] = ("step",)  # in the state of each parameter
    _has_shaped_state: ClassVar[bool] = False  # slots are not shaped like the parameter
    _changes_other_rows: ClassVar[bool] = True  # a gradient of zero changes something
    _counts_in_tensors: ClassVar[bool] = True

    def __init__(self, params: Any, *args: Any, sparse: str = "lazy", **kwargs: Any) -> None:
        self._forget()
        super().__init__(params, *args, **kwargs)
        self._step_supports_amp_scaling = False  # a GradScaler divides gradients itself
        self.defaults["sparse"] = sparse
        for group in self.param_groups:
            group.setdefault("sparse", sparse)
            self._check(group)
            for p in group["params"]:
                begun = self.state.get(p, {})  # by torch: Adagrad's
                for name in {*begun} - {*self._counters}:
                    begun[name] = self._first_value(name, p.detach(), group)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = inspect.signature(cls.__init__)
        if "args" in own.parameters:  # ours, above: say what torch's takes
            theirs = inspect.signature(super().__init__)
            more = inspect.Parameter("sparse", inspect.Parameter.KEYWORD_ONLY, default="lazy")
            parameters = [*list(theirs.parameters.values())[1:], more]
            cls.__signature__ = theirs.replace(parameters=parameters)

    # ----- what a class says ---------------------------------------------------------------------

    def _kernel(self, group: Group, parameter: torch.Tensor) -> Kernel:
        """The kernel that updates a parameter of this group."""
        raise NotImplementedError

    def _numbers(self, group: Group, part: Part) -> Numbers:
        """The numbers of a part's next step, of a group with these hyperparameters."""
        raise NotImplementedError

    def _first_value(self, name: str, parameter: torch.Tensor, group: Group) -> torch.Tensor:
        """What a slot begins with."""
        return full_like(parameter, 0.0)

    def _as_slot(
        self, name: str, value: torch.Tensor, order: tuple[int, ...] | None
    ) -> torch.Tensor:
        """A view of state as the kernel sees it, of a parameter whose axes are in that order."""
        return in_order(value, order)

    def _first_count(self, name: str) -> float:
        return 0.0

    def _needed(self, group: Group, parameter: torch.Tensor) -> tuple[str, ...]:
        return (*self._counters, *filter(None, self._kernel(group, parameter).slots))

    def _begun(self, group: Group, parameter: torch.Tensor, names: Iterable[str]) -> dict[str, Any]:
        state = self.state.get(parameter) or {}
        return {
            name: self._first_count_of(name)
            if name in self._counters
            else self._first_value(name, parameter.detach(), group)
            for name in names
            if state.get(name) is None
        }

    def _first_count_of(self, name: str) -> Any:
        first = self._first_count(name)
        return counter(first) if self._counts_in_tensors else int(first)

    # ----- torch.optim.Optimizer's ---------------------------------------------------------------

    @property
    def _op(self) -> str:
        return f"{type(self).__name__}.step"

    def _check(self, group: Group) -> None:
        name = type(self).__name__
        for option in ("capturable", "differentiable"):
            if group.get(option):
                raise ValueError(
                    f"{name}: {option}: expected False, since a step is not part of a graph, "
                    "got True"
                )
        if group["sparse"] == DEFERRED:
            raise ValueError(
                f"{name}: sparse: expected 'keras' or 'lazy', got 'deferred', which would show "
                "old rows to whoever reads the tensor; slotwise.optimizers have it"
            )
        _SPARSE(name, "sparse", group["sparse"])

    def add_param_group(self, param_group: Group) -> None:
        """Add parameters, as ``torch.optim.Optimizer`` does."""
        super().add_param_group(param_group)
        if "sparse" in self.defaults:  # not while the first ones are added
            try:
                self._check(self.param_groups[-1])
            except ValueError:
                del self.param_groups[-1]
                raise

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("sparse", self.defaults.get("sparse", "lazy"))
        self._forget()

    def _forget(self) -> None:
        """Know of no parts; a copy makes its own."""
        self._splits: dict[int, list[_Split]] = {}  # of each group
        self._seen: list[Any] = []  # the state of each parameter, when parts last looked it up
        self._stamp = 0

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters that have a gradient, all or none.

        Args:
            closure: computes the loss anew, and the gradients.

        Returns:
            What the closure returned.

        Raises:
            TypeError, ValueError: a parameter or gradient that cannot be used. Nothing was changed.
        """
        if (
            self._optimizer_step_pre_hooks
            or self._optimizer_step_post_hooks
            or _base._global_optimizer_pre_hooks
            or _base._global_optimizer_post_hooks
            or _is_profiled()
        ):
            return _observed(self, closure)
        return self._step(closure)

    step.hooked = True  # type: ignore[attr-defined]  # torch would add what `_observed` has

    def _step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._run(
            [(grad, p) for p in group["params"] if (grad := p.grad) is not None]
            for group in self.param_groups
        )
        return loss

    # ----- a step --------------------------------------------------------------------------------

    def _update(self, pairs: Sequence[Pair]) -> None:
        """Update just these parameters, by gradients that are tensors, or slices over NumPy."""
        wanted = {id(parameter): grad for grad, parameter in pairs}
        self._run(
            [(wanted[id(p)], p) for p in group["params"] if id(p) in wanted]
            for group in self.param_groups
        )

    def _run(self, pairs_of_groups: Iterable[list[Pair]]) -> None:
        work: list[Work] = []
        with self._lock.step():
            for place, pairs in enumerate(pairs_of_groups):
                if pairs:
                    work += self._parts(place, self.param_groups[place], pairs)
            has_sparse = _tracking.is_used() > 0
            for part, _ in work:
                has_sparse = has_sparse or part.has_sparse
            try:
                self._apply(work, has_sparse)
            except (TypeError, ValueError):
                if has_sparse:
                    raise
                self._apply(work, True)  # if gradients are not what they were taken for

    def _apply(self, work: list[Work], has_sparse: bool) -> None:
        """Update parts, all or none.

        Args:
            work: the parts, and the pairs of each.
            has_sparse: whether a gradient may be something else than a dense tensor without graph.
        """
        calls = []
        changes: list[tuple[Any, float]] = []  # lists of arrays, and what they become
        steps = []
        for part, pairs in work:
            group = self.param_groups[part.place]
            hypers, counters, decay, gradient = self._numbers(group, part)
            plan, given = part.gradients(pairs) if has_sparse else part.dense_gradients(pairs)
            is_whole = part.has_sparse and group["sparse"] == "keras" and self._changes_other_rows
            scope = "whole" if is_whole else "rows"
            if has_sparse:  # as it is where rows are tracked
                mark_touched(given, only_rows=not is_whole)
            by_type, decay_by_type = (hypers, hypers), decay and (decay, decay)
            attrs, clips = part.kernel.attrs, (None, None, None)
            around = (scope, decay_by_type, None, scope, gradient)
            calls.append((plan, given, by_type, attrs, *clips, *around))
            changes += zip(part.counts, counters)  # noqa: B905  none are in tensors, or all
            steps.append((part, counters))
        for part, counters in steps:
            part.begin(self, counters)
        try:
            _core.apply_all(calls, tuple(changes))
        except Exception:  # it was refused; an interrupt that comes after it undoes nothing
            for part, _ in steps:
                part.undo(self)
            raise
        for part, _ in steps:
            part.has_stepped()

    def _parts(self, place: int, group: Group, pairs: list[Pair]) -> list[Work]:
        """The parts of a group that these pairs make up, each with its own."""
        states = list(self.state.values())
        if len(states) != len(self._seen) or not all(map(is_, states, self._seen)):
            self._seen = states
            self._stamp += 1
        parameters = [p for _, p in pairs]
        known = self._splits.setdefault(place, [])
        for number in range(len(known) - 1, -1, -1):
            split = known[number]
            if split.is_for(self, group, parameters):
                known.append(known.pop(number))
                break
        else:
            split = _Split(self, place, group, parameters)
            known.append(split)
            del known[: -_Split.LIMIT]
        if len(split.parts) == 1:
            return [(split.parts[0], pairs)]
        return [
            (part, [pairs[i] for i in own])
            for part, own in zip(split.parts, split.places, strict=True)
        ]


_observed: Any = torch.optim.Optimizer.profile_hook_step(Optimizer._step)


class _Split:
    """Parameters of a group that have gradients together, by parts."""

    LIMIT = 16  # of a group; each keeps the memory of its parameters alive

    def __init__(
        self,
        optimizer: Optimizer,
        place: int,
        group: Group,
        parameters: list[torch.nn.Parameter],
    ) -> None:
        given = group.get("param_names") or [
            f"param_groups[{place}]['params'][{index}]" for index in range(len(group["params"]))
        ]
        names = {id(p): name for p, name in zip(group["params"], given, strict=True)}
        if len(names) < len(given):
            raise ValueError(
                f"{optimizer._op}: param_groups[{place}]['params']: expected each parameter once, "
                f"got {len(given)}, of which {len(names)} differ"
            )
        by_key: dict[Any, list[int]] = {}
        for index, parameter in enumerate(parameters):
            by_key.setdefault(self._key(optimizer, group, parameter), []).append(index)
        self.parameters = parameters
        self.places = list(by_key.values())
        self.parts = []
        for (kernel, is_first, *_), own in by_key.items():
            members = [parameters[i] for i in own]
            own_names = [names[id(p)] for p in members]
            self.parts.append(Part(optimizer, place, kernel, is_first, members, own_names))

    @staticmethod
    def _key(optimizer: Optimizer, group: Group, parameter: torch.nn.Parameter) -> tuple[Any, ...]:
        """What parameters have in common that make up a part."""
        kernel = optimizer._kernel(group, parameter)
        state = optimizer.state.get(parameter, {})
        is_first = any(state.get(name) is None for name in filter(None, kernel.slots))
        counters = [float(state.get(c, optimizer._first_count(c))) for c in optimizer._counters]
        return (kernel, is_first, *counters)

    def is_for(
        self, optimizer: Optimizer, group: Group, parameters: list[torch.nn.Parameter]
    ) -> bool:
        """Whether it is for just these parameters, and all that is known of them is still so."""
        if len(parameters) != len(self.parameters):
            return False
        if not all(map(is_, parameters, self.parameters)):
            return False
        for part in self.parts:  # noqa: SIM110  a third of the time
            if not part.is_current(optimizer, group):
                return False
        return True


class Part:
    """Parameters of a group that have been updated equally often, with their plan."""

    def __init__(
        self,
        optimizer: Optimizer,
        place: int,
        kernel: Kernel,
        is_first: bool,
        parameters: list[torch.nn.Parameter],
        names: list[str],
    ) -> None:
        op = optimizer._op
        group = optimizer.param_groups[place]
        self.place, self.kernel, self.is_first = place, kernel, is_first
        self.parameters = parameters
        self.has_sparse = False
        # (A slot that is not shaped like its parameter knows its axes as they are.)
        self._orders = [None if optimizer._has_shaped_state else order_of(p) for p in parameters]
        self._is_plain = not optimizer._has_shaped_state and not any(
            order is not None or p.is_complex()
            for order, p in zip(self._orders, parameters, strict=True)
        )
        self._versioned = [p for p in parameters if not p.is_inference()]
        self._pending: list[tuple[torch.nn.Parameter, dict[str, Any]]] = []
        states = [self._state(optimizer, group, p) for p in parameters]
        self._stamp = -1
        self._states: list[dict[str, Any]] = []
        self.counters = tuple(float(states[0][name]) for name in optimizer._counters)
        in_tensors = optimizer._counters if optimizer._counts_in_tensors else ()
        self._fields = (*filter(None, kernel.slots), *in_tensors)
        self._arrays: list[NDArray[Any]] = []
        self.counts: list[list[NDArray[Any]]] = [[] for _ in in_tensors]
        self._entries: list[tuple[Any, ...]] = []
        for p, state, order, name in zip(parameters, states, self._orders, names, strict=True):
            var = array(op, name, in_order(p, order))
            kept = {
                slot: array(op, f"{slot} of {name}", optimizer._as_slot(slot, state[slot], order))
                for slot in filter(None, kernel.slots)
            }
            slots = [kept[slot] if slot else np.empty(0, var.dtype) for slot in kernel.slots]
            counts = [array(op, f"{each} of {name}", state[each]) for each in in_tensors]
            self._entries.append((var, name, var, *slots))
            self._arrays += [var, *kept.values(), *counts]
            for own, count in zip(self.counts, counts, strict=True):
                own.append(count)
        self._op = op
        self._plans: dict[tuple[Any, ...], tuple[_core.UpdatePlan, list[NDArray[Any]]]] = {}
        self._plan, self._vars = self._planned(tuple([entry[0].shape for entry in self._entries]))

    def _state(
        self, optimizer: Optimizer, group: Group, parameter: torch.nn.Parameter
    ) -> dict[str, Any]:
        """The state of a parameter, with what is missing; it becomes the optimizer's by a step."""
        state = optimizer.state.get(parameter, {})
        new = optimizer._begun(group, parameter, optimizer._needed(group, parameter))
        for name in () if optimizer._has_shaped_state else filter(None, self.kernel.slots):
            value = state.get(name)
            if value is not None and _lie_apart(value, parameter):
                new[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        if new:
            self._pending.append((parameter, new))
        return {**state, **new}

    def is_current(self, optimizer: Optimizer, group: Group) -> bool:
        """Whether all that is known of its parameters is still so; it reads their counters."""
        kernel = optimizer._kernel(group, self.parameters[0])
        if self._pending or (kernel is not self.kernel and kernel != self.kernel):
            return False
        if self._stamp != optimizer._stamp:
            self._states = [optimizer.state.get(p) or {} for p in self.parameters]
            self._stamp = optimizer._stamp
        states = self._states
        if not self._is_plain:
            members = zip(self.parameters, states, self._orders, strict=True)
            ordered = [self._in_order(optimizer, *member) for member in members]
            tensors = [tensor for tensor, _ in ordered]
            if not are_held(tensors, [own for _, own in ordered], self._fields, self._arrays):
                return False
        elif not are_held(self.parameters, states, self._fields, self._arrays):
            return False
        if optimizer._counts_in_tensors:
            self.counters = tuple([float(counts[0]) for counts in self.counts])
            for counts, number in zip(self.counts, self.counters):  # noqa: B905  one each
                if not _core.are_all(counts, number):
                    return False
            return True
        firsts = {name: optimizer._first_count(name) for name in optimizer._counters}
        counted = {tuple([{**firsts, **state}[name] for name in firsts]) for state in states}
        self.counters = counted.pop()
        return not counted

    def _in_order(
        self,
        optimizer: Optimizer,
        parameter: torch.Tensor,
        state: dict[str, Any],
        order: tuple[int, ...] | None,
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """A parameter and its state as the kernels see them."""
        ordered = dict(state)
        for name in filter(None, self.kernel.slots):
            slot = ordered.get(name)
            if isinstance(slot, torch.Tensor) and slot.dim() == parameter.dim():
                ordered[name] = optimizer._as_slot(name, slot, order)
        return in_order(parameter, order), ordered

    def _planned(self, shapes: tuple[Any, ...]) -> tuple[_core.UpdatePlan, list[NDArray[Any]]]:
        """A plan, and its variables, that sees each parameter and its state with this shape."""
        if shapes not in self._plans:
            entries = []
            for (var, name, *arrays), shape in zip(self._entries, shapes, strict=True):
                seen = [a.reshape(shape) if a.shape == var.shape else a for a in (var, *arrays)]
                entries.append((seen[0], name, *seen[1:]))
            plan = _core.UpdatePlan(
                self._op, self.kernel.rule, entries, None, [True] * len(entries)
            )
            self._plans[shapes] = plan, [entry[0] for entry in entries]
        return self._plans[shapes]

    def dense_gradients(self, pairs: list[Pair]) -> tuple[_core.UpdatePlan, list[Given]]:
        """The plan, and gradients that are dense tensors, each with its variable."""
        if self._is_plain:
            given = [(pair[0], var) for pair, var in zip(pairs, self._vars)]  # noqa: B905  as many
            return self._plan, given
        return self.gradients(pairs)

    def gradients(self, pairs: list[Pair]) -> tuple[_core.UpdatePlan, list[Given]]:
        """A plan, and gradients of every kind as the extension takes them, with its variables."""
        self.has_sparse = False
        members = zip(pairs, self._orders, self._entries, strict=True)
        seen = [self._gradient(grad, p, order, entry) for (grad, p), order, entry in members]
        plan, variables = self._planned(tuple([shape for _, shape in seen]))
        return plan, [(grad, var) for (grad, _), var in zip(seen, variables, strict=True)]

    def _gradient(
        self,
        grad: Any,
        parameter: torch.Tensor,
        order: tuple[int, ...] | None,
        entry: tuple[Any, ...],
    ) -> tuple[Any, tuple[int, ...]]:
        """A gradient, and the shape that its parameter is to be seen with."""
        where = f"{self._op}: gradient of {entry[1]}"
        shape = entry[0].shape
        if isinstance(grad, IndexedSlices):
            if order is not None:
                raise ValueError(f"{where}: expected that of a contiguous parameter")
            self.has_sparse = True
            return grad, shape
        slices = slices_of(grad, order, where)
        if slices is None:
            return in_order(grad.detach().resolve_conj().resolve_neg(), order), shape
        self.has_sparse = True
        if slices.dense_shape is None or slices.dense_shape == shape:
            return slices, shape
        if grad.shape != parameter.shape:
            raise ValueError(
                f"{where}: expected shape {tuple(parameter.shape)}, got {tuple(grad.shape)}"
            )
        return slices, slices.dense_shape

    def begin(self, optimizer: Optimizer, counters: tuple[float, ...]) -> None:
        """Give the optimizer what a step makes, before it: nothing comes between that and it."""
        for parameter, new in self._pending:
            optimizer.state.setdefault(parameter, {}).update(new)
        if not optimizer._counts_in_tensors:
            self._count(optimizer, counters)

    def undo(self, optimizer: Optimizer) -> None:
        """Take that back."""
        if not optimizer._counts_in_tensors:
            self._count(optimizer, self.counters)
        for parameter, new in self._pending:
            state = optimizer.state[parameter]
            for name in new:
                del state[name]
            if not state:
                del optimizer.state[parameter]

    def _count(self, optimizer: Optimizer, counters: tuple[float, ...]) -> None:
        counted = dict(zip(optimizer._counters, map(int, counters), strict=True))
        for p in self.parameters:
            optimizer.state[p].update(counted)

    def has_stepped(self) -> None:
        """Tell autograd that parameters have changed."""
        self._pending = []
        self.is_first = False
        torch.autograd.graph.increment_version(self._versioned)


def _lie_apart(value: torch.Tensor, parameter: torch.Tensor) -> bool:
    """Whether a tensor's elements lie in another order than a parameter's of the same shape."""
    return bool(value.shape == parameter.shape and value.stride() != parameter.stride())


def counter(number: float) -> torch.Tensor:
    """A counter as torch keeps it, whatever the defaults for dtypes and devices are."""
    wide = torch.get_default_dtype() == torch.float64
    return torch.tensor(number, dtype=torch.float64 if wide else torch.float32, device="cpu")


def rate_of(group: Group) -> float:
    """The learning rate, a number or a tensor with one element."""
    return float(group["lr"])


def decays(
    group: Group, lr: float, is_apart: bool
) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """How weights decay, and in which direction the step goes: `Numbers`' decay and gradient.

    Args:
        group: with ``weight_decay`` and ``maximize``, if it has them.
        lr: the learning rate.
        is_apart: whether weights decay apart from the gradient, as in AdamW.
    """
    decay = float(group.get("weight_decay", 0.0))
    sign = -1.0 if group.get("maximize") else 1.0
    coupled = 0.0 if is_apart else decay
    gradient = (sign, coupled) if coupled or sign < 0 else None
    return ((decay, lr) if is_apart and decay else None), gradient


def corrections(betas: Any, step: float) -> tuple[float, float, float, float]:
    """Both betas, 1 - beta1^t, and sqrt(1 - beta2^t)."""
    beta1, beta2 = float(betas[0]), float(betas[1])
    return beta1, beta2, 1 - beta1**step, math.sqrt(1 - beta2**step)


def require(name: str, **numbers: Any) -> None:
    """Raise if one of these is not a number >= 0."""
    for argument, number in numbers.items():
        NOT_NEGATIVE(name, argument, number)


def require_betas(name: str, betas: Any) -> None:
    """Raise if these are not two numbers >= 0 and < 1."""
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise ValueError(f"{name}: betas: expected two numbers, got {betas}")
    for number, beta in enumerate(betas):
        _BETA(name, f"betas[{number}]", beta)
