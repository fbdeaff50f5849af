# SPDX-License-Identifier: Apache-2.0
"""Rprop."""

from __future__ import annotations

import torch

from slotwise.torch._memory import full_like
from slotwise.torch._optimizer import Group, Kernel, Numbers, Optimizer, Part, decays, rate_of


class Rprop(Optimizer, torch.optim.Rprop):
    """``torch.optim.Rprop`` by our kernels: resilient backpropagation (Riedmiller and Braun, 1993).

    With s = sign(g * prev), the lesser and the greater of `etas`, and both `step_sizes`::

        size *= greater if s > 0, lesser if s < 0, else 1
        size  = clip(size, step_sizes)
        prev  = 0 if s < 0, else g
        p    -= sign(prev) * size

    Args:
        params, lr, etas, step_sizes, maximize: as in ``torch.optim.Rprop``; `size` begins with lr.
        foreach: accepted; every step is one call.
        capturable, differentiable: refused if True.
        sparse: what a sparse gradient means (see ``slotwise.torch.Optimizer``).

    Example:
        >>> import torch, slotwise.torch as st
        >>> p = torch.nn.Parameter(torch.ones(2))
        >>> opt = st.Rprop([p], lr=0.5)
        >>> p.sum().backward()
        >>> opt.step()
        >>> p.detach()
        tensor([0.5000, 0.5000])
    """

    def _kernel(self, group: Group, parameter: torch.Tensor) -> Kernel:
        return Kernel("Rprop", ("prev", "step_size"))

    def _numbers(self, group: Group, part: Part) -> Numbers:
        hypers = tuple(map(float, (*group["etas"], *group["step_sizes"])))
        return Numbers(hypers, (part.counters[0] + 1,), *decays(group, 0.0, is_apart=False))

    def _first_value(self, name: str, parameter: torch.Tensor, group: Group) -> torch.Tensor:
        if name == "prev":
            return super()._first_value(name, parameter, group)
        size = rate_of(group)
        value = complex(size, size) if parameter.is_complex() else size
        return full_like(parameter, value)
