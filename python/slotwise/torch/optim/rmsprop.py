# SPDX-License-Identifier: Apache-2.0
"""RMSprop."""

from __future__ import annotations

import torch

from slotwise.torch._optimizer import Group, Kernel, Numbers, Optimizer, Part, decays, rate_of


class RMSprop(Optimizer, torch.optim.RMSprop):
    """``torch.optim.RMSprop`` by our kernels (Hinton, Srivastava and Swersky, lecture 6e).

    With g the gradient plus `weight_decay` * p::

        v  = alpha * v + (1 - alpha) * g^2
        a  = alpha * a + (1 - alpha) * g            with centered only; else a = 0
        b  = momentum * b + g / (sqrt(v - a^2) + eps)
        p -= lr * b

    Args:
        params, lr, alpha, eps, weight_decay, momentum, centered, maximize: as in
            ``torch.optim.RMSprop``. Where rounding makes v - a^2 negative, torch's step is NaN;
            this one is 0.
        foreach: accepted; every step is one call.
        capturable, differentiable: refused if True.
        sparse: what a sparse gradient means (see ``slotwise.torch.Optimizer``).

    Example:
        >>> import torch, slotwise.torch as st
        >>> p = torch.nn.Parameter(torch.ones(2))
        >>> opt = st.RMSprop([p], lr=0.05)
        >>> p.sum().backward()
        >>> opt.step()
        >>> p.detach()
        tensor([0.5000, 0.5000])
    """

    _optional_slots = frozenset(["momentum_buffer", "grad_avg"])

    def _kernel(self, group: Group, parameter: torch.Tensor) -> Kernel:
        centered, momentum = bool(group["centered"]), group["momentum"] > 0
        if momentum and centered:
            return Kernel("TorchCenteredRMSProp", ("grad_avg", "square_avg", "momentum_buffer"))
        if momentum:
            return Kernel("TorchRMSProp", ("square_avg", "momentum_buffer"))
        if centered:
            return Kernel("KerasCenteredRMSProp", ("square_avg", "grad_avg"), (False,))
        return Kernel("KerasRMSProp", ("square_avg",), (False,))

    def _numbers(self, group: Group, part: Part) -> Numbers:
        lr, momentum = rate_of(group), float(group["momentum"])
        hypers = (lr, float(group["alpha"]), *([momentum] * (momentum > 0)), float(group["eps"]))
        return Numbers(hypers, (part.counters[0] + 1,), *decays(group, lr, is_apart=False))
