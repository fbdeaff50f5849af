# SPDX-License-Identifier: Apache-2.0
"""Adadelta."""

from __future__ import annotations

import torch

from slotwise.torch._optimizer import Group, Kernel, Numbers, Optimizer, Part, decays, rate_of


class Adadelta(Optimizer, torch.optim.Adadelta):
    """``torch.optim.Adadelta`` by our kernels (Zeiler, 2012).

    With g the gradient plus `weight_decay` * p::

        v     = rho * v + (1 - rho) * g^2
        delta = sqrt(u + eps) / sqrt(v + eps) * g
        u     = rho * u + (1 - rho) * delta^2
        p    -= lr * delta

    Args:
        params, lr, rho, eps, weight_decay, maximize: as in ``torch.optim.Adadelta``.
        foreach: accepted; every step is one call.
        capturable, differentiable: refused if True.
        sparse: what a sparse gradient means (see ``slotwise.torch.Optimizer``).

    Example:
        >>> import torch, slotwise.torch as st
        >>> p = torch.nn.Parameter(torch.ones(2))
        >>> opt = st.Adadelta([p])
        >>> p.sum().backward()
        >>> opt.step()
        >>> bool((p < 1).all())
        True
    """

    def _kernel(self, group: Group, parameter: torch.Tensor) -> Kernel:
        return Kernel("Adadelta", ("square_avg", "acc_delta"))

    def _numbers(self, group: Group, part: Part) -> Numbers:
        lr = rate_of(group)
        hypers = (lr, float(group["rho"]), float(group["eps"]))
        return Numbers(hypers, (part.counters[0] + 1,), *decays(group, lr, is_apart=False))
