# SPDX-License-Identifier: Apache-2.0
"""Ftrl."""

from __future__ import annotations

from typing import Any

import torch

from slotwise.optimizers._kinds import Number
from slotwise.torch._memory import full_like
from slotwise.torch._optimizer import (
    Group,
    Kernel,
    Numbers,
    Optimizer,
    Part,
    decays,
    rate_of,
    require,
)

_POWER = Number(at_most=0)


class Ftrl(Optimizer):
    """FTRL-Proximal (McMahan et al., "Ad click prediction: a view from the trenches", 2013).

    Numbers and semantics are those of Keras's ``Ftrl`` and TensorFlow's ``ApplyFtrl``, which
    PyTorch has no optimizer for. With k = -lr_power::

        n' = n + g^2
        z += g - (n'^k - n^k) / lr * p
        p  = (clip(z, -l1, l1) - z) / (n'^k / lr + 2 * l2)
        n  = n'

    Args:
        params: parameters, or groups of them.
        lr: the learning rate.
        lr_power: how the rate falls as squares add up; 0 or less.
        initial_accumulator_value: what n begins with.
        l1, l2: the strengths of the regularization.
        maximize: whether to go up.
        sparse: what a sparse gradient means (see ``slotwise.torch.Optimizer``).

    Raises:
        ValueError: a number out of range.

    Example:
        >>> import torch, slotwise.torch as st
        >>> p = torch.nn.Parameter(torch.zeros(2))
        >>> opt = st.Ftrl([p], lr=0.5)
        >>> p.sum().backward()
        >>> opt.step()
        >>> bool((p < 0).all())
        True
    """

    _counters = ()

    def __init__(
        self,
        params: Any,
        lr: float | torch.Tensor = 1e-3,
        lr_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1: float = 0.0,
        l2: float = 0.0,
        *,
        maximize: bool = False,
        sparse: str = "lazy",
    ) -> None:
        first = initial_accumulator_value
        require("Ftrl", lr=lr, initial_accumulator_value=first, l1=l1, l2=l2)
        _POWER("Ftrl", "lr_power", lr_power)
        defaults = {
            "lr": lr,
            "lr_power": lr_power,
            "initial_accumulator_value": first,
            "l1": l1,
            "l2": l2,
            "maximize": maximize,
        }
        super().__init__(params, defaults, sparse=sparse)

    def _kernel(self, group: Group, parameter: torch.Tensor) -> Kernel:
        return Kernel("Ftrl", ("accumulator", "linear"), (False,))

    def _numbers(self, group: Group, part: Part) -> Numbers:
        lr = rate_of(group)
        others = (float(group[name]) for name in ("l1", "l2", "lr_power"))
        return Numbers((lr, *others), (), *decays(group, lr, is_apart=False))

    def _first_value(self, name: str, parameter: torch.Tensor, group: Group) -> torch.Tensor:
        if name == "linear":
            return super()._first_value(name, parameter, group)
        return full_like(parameter, group["initial_accumulator_value"])
