# SPDX-License-Identifier: Apache-2.0
"""SGD."""

from __future__ import annotations

import torch

from slotwise.torch._optimizer import Group, Kernel, Numbers, Optimizer, Part, decays, rate_of

_PLAIN = Kernel("GradientDescent")
_MOMENTUM = Kernel("Momentum", ("momentum_buffer",), (False,))
_NESTEROV = Kernel("Momentum", ("momentum_buffer",), (True,))


class SGD(Optimizer, torch.optim.SGD):
    """``torch.optim.SGD`` by our kernels: stochastic gradient descent, with momentum if given.

    With d = `dampening`, and g the gradient plus `weight_decay` * p::

        b  = momentum * b + (1 - d) * g             the first time, b = g
        p -= lr * b                                 or, with nesterov,
        p -= lr * (g + momentum * b)                or, without momentum, p -= lr * g

    Args:
        params, lr, momentum, dampening, weight_decay, nesterov, maximize: as in
            ``torch.optim.SGD``.
        foreach, fused: accepted; every step is one call.
        sparse: what a sparse gradient means (see ``slotwise.torch.Optimizer``).

    Example:
        >>> import torch, slotwise.torch as st
        >>> p = torch.nn.Parameter(torch.ones(2))
        >>> opt = st.SGD([p], lr=0.5)
        >>> p.sum().backward()
        >>> opt.step()
        >>> p.detach()
        tensor([0.5000, 0.5000])
    """

    _counters = ()
    _optional_slots = frozenset(["momentum_buffer"])

    def _kernel(self, group: Group, parameter: torch.Tensor) -> Kernel:
        if group["momentum"] == 0:
            return _PLAIN
        return _NESTEROV if group["nesterov"] else _MOMENTUM

    def _numbers(self, group: Group, part: Part) -> Numbers:
        lr, momentum = rate_of(group), float(group["momentum"])
        _, gradient = decays(group, lr, is_apart=False)
        if momentum == 0:
            return Numbers((lr,), gradient=gradient)
        kept = 1.0 if part.is_first else 1 - float(group["dampening"])
        if kept != 1:
            sign, decay = gradient or (1.0, 0.0)
            gradient = (sign * kept, decay * kept)
        return Numbers((lr, momentum), gradient=gradient)
