# SPDX-License-Identifier: Apache-2.0
"""Adagrad."""

from __future__ import annotations

import torch

from slotwise.torch._memory import full_like
from slotwise.torch._optimizer import Group, Kernel, Numbers, Optimizer, Part, decays, rate_of


class Adagrad(Optimizer, torch.optim.Adagrad):
    """``torch.optim.Adagrad`` by our kernels (Duchi, Hazan and Singer, 2011).

    With t the number of the step, and g the gradient plus `weight_decay` * p::

        sum += g^2
        p   -= lr / (1 + (t - 1) * lr_decay) * g / (sqrt(sum) + eps)

    Args:
        params, lr, lr_decay, weight_decay, initial_accumulator_value, eps, maximize: as in
            ``torch.optim.Adagrad``. Weight decay is refused where a gradient is sparse.
        foreach, fused: accepted; every step is one call.
        differentiable: refused if True.
        sparse: what a sparse gradient means (see ``slotwise.torch.Optimizer``).

    Example:
        >>> import torch, slotwise.torch as st
        >>> p = torch.nn.Parameter(torch.ones(2))
        >>> opt = st.Adagrad([p], lr=0.5)
        >>> p.sum().backward()
        >>> opt.step()
        >>> p.detach()
        tensor([0.5000, 0.5000])
    """

    def _kernel(self, group: Group, parameter: torch.Tensor) -> Kernel:
        return Kernel("AdagradV2", ("sum",), (True,))

    def _numbers(self, group: Group, part: Part) -> Numbers:
        lr, step = rate_of(group), part.counters[0] + 1
        rate = lr / (1 + part.counters[0] * float(group["lr_decay"]))
        hypers = (rate, float(group["eps"]))
        return Numbers(hypers, (step,), *decays(group, lr, is_apart=False))

    def _first_value(self, name: str, parameter: torch.Tensor, group: Group) -> torch.Tensor:
        first = float(group["initial_accumulator_value"])
        value = complex(first, first) if parameter.is_complex() else first
        return full_like(parameter, value)
