# SPDX-License-Identifier: Apache-2.0
"""Adamax."""

from __future__ import annotations

import torch

from slotwise.torch._optimizer import Group, Kernel, Numbers, Optimizer, Part, decays, rate_of


class Adamax(Optimizer, torch.optim.Adamax):
    """``torch.optim.Adamax`` by our kernels: Adam by the infinity norm (Kingma and Ba, 2014).

    With t the number of the step, and g the gradient plus `weight_decay` * p::

        m += (g - m) * (1 - beta1)
        u  = max(beta2 * u, |g| + eps)
        p -= lr / (1 - beta1^t) * m / u

    Args:
        params, lr, betas, eps, weight_decay, maximize: as in ``torch.optim.Adamax``.
        foreach: accepted; every step is one call.
        capturable, differentiable: refused if True.
        sparse: what a sparse gradient means (see ``slotwise.torch.Optimizer``).

    Example:
        >>> import torch, slotwise.torch as st
        >>> p = torch.nn.Parameter(torch.ones(2))
        >>> opt = st.Adamax([p], lr=0.5)
        >>> p.sum().backward()
        >>> opt.step()
        >>> p.detach()
        tensor([0.5000, 0.5000])
    """

    def _kernel(self, group: Group, parameter: torch.Tensor) -> Kernel:
        return Kernel("TorchAdaMax", ("exp_avg", "exp_inf"))

    def _numbers(self, group: Group, part: Part) -> Numbers:
        lr, step = rate_of(group), part.counters[0] + 1
        beta1, beta2 = map(float, group["betas"])
        hypers = (0.0, lr / (1 - beta1**step), beta1, beta2, float(group["eps"]))
        return Numbers(hypers, (step,), *decays(group, lr, is_apart=False))
