# SPDX-License-Identifier: Apache-2.0
"""Adam and AdamW."""

from __future__ import annotations

import torch

from slotwise.torch._optimizer import (
    Group,
    Kernel,
    Numbers,
    Optimizer,
    Part,
    corrections,
    decays,
    rate_of,
)

_PLAIN = Kernel("Adam", ("exp_avg", "exp_avg_sq"), (False,))
_AMSGRAD = Kernel("AdamWithAmsgrad", ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"))


class _Adams(Optimizer):
    """What Adam and AdamW share."""

    _optional_slots = frozenset(["max_exp_avg_sq"])

    def _kernel(self, group: Group, parameter: torch.Tensor) -> Kernel:
        return _AMSGRAD if group["amsgrad"] else _PLAIN

    def _numbers(self, group: Group, part: Part) -> Numbers:
        lr, step = rate_of(group), part.counters[0] + 1
        beta1, beta2, correction, root = corrections(group["betas"], step)
        # p -= lr / correction * m / (sqrt(v) / root + eps); the kernel's own corrections are off
        hypers = (0.0, 0.0, lr * root / correction, beta1, beta2, group["eps"] * root)
        is_apart = isinstance(self, torch.optim.AdamW) or group.get("decoupled_weight_decay", False)
        return Numbers(hypers, (step,), *decays(group, lr, is_apart))


class Adam(_Adams, torch.optim.Adam):
    """``torch.optim.Adam`` by our kernels (Kingma and Ba, 2014; Reddi et al., 2018).

    With t the number of the step, and g the gradient plus `weight_decay` * p::

        m  += (g - m) * (1 - beta1)
        v  += (g^2 - v) * (1 - beta2)
        vm  = max(vm, v) with amsgrad, else v
        p  -= lr / (1 - beta1^t) * m / (sqrt(vm / (1 - beta2^t)) + eps)

    With `decoupled_weight_decay`, weights decay as in `AdamW`.

    Args:
        params, lr, betas, eps, weight_decay, amsgrad, maximize: as in ``torch.optim.Adam``.
        foreach, fused: accepted; every step is one call.
        capturable, differentiable: refused if True.
        sparse: what a sparse gradient means (see ``slotwise.torch.Optimizer``).

    Example:
        >>> import torch, slotwise.torch as st
        >>> p = torch.nn.Parameter(torch.ones(2))
        >>> opt = st.Adam([p], lr=0.5)
        >>> p.sum().backward()
        >>> opt.step()
        >>> p.detach()
        tensor([0.5000, 0.5000])
    """


class AdamW(_Adams, torch.optim.AdamW):
    """``torch.optim.AdamW`` by our kernels (Loshchilov and Hutter, 2017).

    The update is `Adam`'s of the gradient alone; before it, ``p -= lr * weight_decay * p``.

    Args:
        params, lr, betas, eps, weight_decay, amsgrad, maximize: as in ``torch.optim.AdamW``.
        foreach, fused: accepted; every step is one call.
        capturable, differentiable: refused if True.
        sparse: what a sparse gradient means (see ``slotwise.torch.Optimizer``).

    Example:
        >>> import torch, slotwise.torch as st
        >>> p = torch.nn.Parameter(torch.ones(2))
        >>> opt = st.AdamW([p], lr=0.5, weight_decay=0.1)
        >>> p.sum().backward()
        >>> opt.step()
        >>> p.detach()
        tensor([0.4500, 0.4500])
    """
