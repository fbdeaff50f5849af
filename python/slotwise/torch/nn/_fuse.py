# SPDX-License-Identifier: Apache-2.0
"""Updates within backward."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import torch

_OP = "fuse"


class Fused:
    """What `fuse` returns: parameters that are updated in backward, until it is removed.

    Attributes:
        optimizer, parameters: as given.
    """

    def __init__(self, optimizer: Any, parameters: list[torch.nn.Parameter]) -> None:
        self.optimizer, self.parameters = optimizer, parameters
        self._waiting = threading.local()  # pairs of this thread's backward
        self._hooks = [p.register_post_accumulate_grad_hook(self._take) for p in parameters]

    def remove(self) -> None:
        """Leave updates to the optimizer's ``step`` again."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def _take(self, parameter: torch.nn.Parameter) -> None:
        """Take a gradient that is complete; sparse ones wait for each other."""
        grad, parameter.grad = parameter.grad, None
        if grad is None:
            raise RuntimeError(
                f"{_OP}: expected one backward at a time, got two, of which another thread's took "
                "the gradient of both"
            )
        if not grad.is_sparse:
            self.optimizer._update([(grad, parameter)])
            return
        task = torch._C._current_graph_task_id()
        if getattr(self._waiting, "task", None) != task:
            pairs: list[Any] = []
            self._waiting.task, self._waiting.pairs = task, pairs
            torch.autograd.Variable._execution_engine.queue_callback(lambda: self._update(pairs))
        self._waiting.pairs.append((grad, parameter))

    def _update(self, pairs: list[Any]) -> None:
        vars(self._waiting).clear()
        self.optimizer._update(pairs)


def fuse(optimizer: Any, modules_or_parameters: Any) -> Fused:
    """Have every backward update parameters, which then need neither gradients nor a step.

    When ``loss.backward()`` returns, the parameters have been updated and their ``grad`` is None.
    All tables are updated together, by one call at the end of backward; a parameter with a dense
    gradient as soon as it is complete, so that its memory is free again. ``optimizer.step()``
    updates all others.

    Each backward is a step: nothing accumulates over several of them. So a loss must not be scaled,
    by a GradScaler, say, and clipping gradients does nothing. A gradient that is there already is
    added to the first one. What ``torch.autograd.grad`` returns updates nothing. Threads that share
    a parameter have to run one backward after the other, as ``grad`` is one for all of them.

    Args:
        optimizer: one of `slotwise.torch`, which has the parameters.
        modules_or_parameters: a module, whose parameters are meant, a parameter, or several.

    Returns:
        A handle, whose ``remove()`` undoes it.

    Raises:
        TypeError: something else than these.
        ValueError: a parameter that the optimizer does not have, that has no gradient, or that is
            fused already.

    Example:
        >>> import torch, slotwise.torch as st
        >>> bag = st.EmbeddingBag(10, 4, mode="sum", _weight=torch.zeros(10, 4))
        >>> handle = st.fuse(st.SGD(bag.parameters(), lr=1.0), bag)
        >>> bag(torch.tensor([[1, 2, 1]])).sum().backward()
        >>> bag.weight.detach()[:4, 0].tolist(), bag.weight.grad
        ([0.0, -2.0, -1.0, 0.0], None)
    """
    if not hasattr(optimizer, "_update"):
        got = type(optimizer).__name__
        raise TypeError(f"{_OP}: optimizer: expected one of slotwise.torch, got {got}")
    parameters = [*dict.fromkeys(_parameters(modules_or_parameters))]
    known = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for number, parameter in enumerate(parameters):
        where = f"{_OP}: parameter {number} of shape {tuple(parameter.shape)}"
        if id(parameter) not in known:
            raise ValueError(f"{where}: expected one of the optimizer's")
        if not (parameter.requires_grad and parameter.is_leaf):
            raise ValueError(f"{where}: expected a leaf that requires a gradient")
        if _is_fused(parameter):
            raise ValueError(f"{where}: expected one that is not fused already")
    return Fused(optimizer, parameters)


def _parameters(given: Any) -> Iterable[Any]:
    if isinstance(given, torch.nn.Module):
        return [*given.parameters()]
    if isinstance(given, torch.Tensor):
        return [given]
    if not isinstance(given, Iterable):
        got = type(given).__name__
        raise TypeError(f"{_OP}: expected modules or parameters, got {got}")
    return [parameter for each in given for parameter in _parameters(each)]


def _is_fused(parameter: torch.Tensor) -> bool:
    hooks = parameter._post_accumulate_grad_hooks or {}
    return any(isinstance(getattr(hook, "__self__", None), Fused) for hook in hooks.values())
