# SPDX-License-Identifier: Apache-2.0
"""RAdam."""

from __future__ import annotations

import math

import torch

from slotwise.torch._optimizer import Group, Kernel, Numbers, Optimizer, Part, decays, rate_of

_MORE_THAN_5 = math.nextafter(5.0, math.inf)


class RAdam(Optimizer, torch.optim.RAdam):
    """``torch.optim.RAdam`` by our kernels: Adam with a rectified start (Liu et al., 2019).

    With t the number of the step, and g the gradient plus `weight_decay` * p::

        m  += (g - m) * (1 - beta1)
        v  += (g^2 - v) * (1 - beta2)
        rho = rho_inf - 2 * t * beta2^t / (1 - beta2^t),  rho_inf = 2 / (1 - beta2) - 1
        r   = sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
        p  -= lr * m / (1 - beta1^t) * r * sqrt(1 - beta2^t) / (sqrt(v) + eps)   if rho > 5, else
        p  -= lr * m / (1 - beta1^t)

    With `decoupled_weight_decay`, weights decay as in `AdamW`.

    Args:
        params, lr, betas, eps, weight_decay, decoupled_weight_decay, maximize: as in
            ``torch.optim.RAdam``.
        foreach: accepted; every step is one call.
        capturable, differentiable: refused if True.
        sparse: what a sparse gradient means (see ``slotwise.torch.Optimizer``).

    Example:
        >>> import torch, slotwise.torch as st
        >>> p = torch.nn.Parameter(torch.ones(2))
        >>> opt = st.RAdam([p], lr=0.5)
        >>> p.sum().backward()
        >>> opt.step()
        >>> p.detach()
        tensor([0.5000, 0.5000])
    """

    def _kernel(self, group: Group, parameter: torch.Tensor) -> Kernel:
        return Kernel("RAdam", ("exp_avg", "exp_avg_sq"))

    def _numbers(self, group: Group, part: Part) -> Numbers:
        lr, step = rate_of(group), part.counters[0] + 1
        beta1, beta2 = map(float, group["betas"])
        power = beta2**step
        length = 2 / (1 - beta2) - 1 - 2 * step * power / (1 - power)
        hypers = (beta1**step, power, lr, beta1, beta2, float(group["eps"]), length, _MORE_THAN_5)
        is_apart = group.get("decoupled_weight_decay", False)
        return Numbers(hypers, (step,), *decays(group, lr, is_apart))
