# SPDX-License-Identifier: Apache-2.0
"""NAdam."""

from __future__ import annotations

import torch

from slotwise.torch._optimizer import (
    Group,
    Kernel,
    Numbers,
    Optimizer,
    Part,
    counter,
    decays,
    rate_of,
)


class NAdam(Optimizer, torch.optim.NAdam):
    """``torch.optim.NAdam`` by our kernels: Adam with Nesterov momentum (Dozat, 2016).

    With t the number of the step, and g the gradient plus `weight_decay` * p::

        mu(t) = beta1 * (1 - 0.96^(t * momentum_decay) / 2)
        M    *= mu(t)
        m    += (g - m) * (1 - beta1)
        v    += (g^2 - v) * (1 - beta2)
        step  = g * (1 - mu(t)) / (1 - M) + m * mu(t + 1) / (1 - M * mu(t + 1))
        p    -= lr * step / (sqrt(v / (1 - beta2^t)) + eps)

    With `decoupled_weight_decay`, weights decay as in `AdamW`.

    Args:
        params, lr, betas, eps, weight_decay, momentum_decay, decoupled_weight_decay, maximize: as
            in ``torch.optim.NAdam``.
        foreach: accepted; every step is one call.
        capturable, differentiable: refused if True.
        sparse: what a sparse gradient means (see ``slotwise.torch.Optimizer``).

    Example:
        >>> import torch, slotwise.torch as st
        >>> p = torch.nn.Parameter(torch.zeros(2))
        >>> opt = st.NAdam([p], lr=0.5)
        >>> p.sum().backward()
        >>> opt.step()
        >>> bool((p < 0).all())
        True
    """

    _counters = ("step", "mu_product")

    def _first_count(self, name: str) -> float:
        return 1.0 if name == "mu_product" else 0.0

    def _kernel(self, group: Group, parameter: torch.Tensor) -> Kernel:
        return Kernel("Nadam", ("exp_avg", "exp_avg_sq"))

    def _numbers(self, group: Group, part: Part) -> Numbers:
        lr, step = rate_of(group), part.counters[0] + 1
        beta1, beta2 = map(float, group["betas"])
        decay = float(group["momentum_decay"])
        momentum, following = (beta1 * (1 - 0.5 * 0.96 ** (t * decay)) for t in (step, step + 1))
        # As in torch, the product is rounded as the tensor that keeps it.
        product = float(counter(part.counters[1]) * momentum)
        hypers = (beta2**step, lr, beta1, beta2, float(group["eps"]))
        is_apart = group.get("decoupled_weight_decay", False)
        return Numbers(
            (*hypers, momentum, following, product),
            (step, product),
            *decays(group, lr, is_apart),
        )
