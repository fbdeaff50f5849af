# SPDX-License-Identifier: Apache-2.0
"""Lion."""

from __future__ import annotations

from typing import Any

import torch

from slotwise.torch._optimizer import (
    Group,
    Kernel,
    Numbers,
    Optimizer,
    Part,
    decays,
    rate_of,
    require,
    require_betas,
)


class Lion(Optimizer):
    """Lion (Chen et al., "Symbolic discovery of optimization algorithms", 2023).

    The names and defaults are those of the authors' implementation for PyTorch::

        p -= lr * weight_decay * p
        p -= lr * sign(beta1 * m + (1 - beta1) * g)
        m  = beta2 * m + (1 - beta2) * g

    Args:
        params: parameters, or groups of them.
        lr: the learning rate.
        betas: beta1 and beta2.
        weight_decay: how weights decay, apart from the gradient.
        maximize: whether to go up.
        sparse: what a sparse gradient means (see ``slotwise.torch.Optimizer``).

    Raises:
        ValueError: a number out of range.

    Example:
        >>> import torch, slotwise.torch as st
        >>> p = torch.nn.Parameter(torch.ones(2))
        >>> opt = st.Lion([p], lr=0.5)
        >>> p.sum().backward()
        >>> opt.step()
        >>> p.detach()
        tensor([0.5000, 0.5000])
    """

    _counters = ()

    def __init__(
        self,
        params: Any,
        lr: float | torch.Tensor = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        sparse: str = "lazy",
    ) -> None:
        require("Lion", lr=lr, weight_decay=weight_decay)
        require_betas("Lion", betas)
        defaults = {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults, sparse=sparse)

    def _kernel(self, group: Group, parameter: torch.Tensor) -> Kernel:
        return Kernel("Lion", ("exp_avg",))

    def _numbers(self, group: Group, part: Part) -> Numbers:
        lr = rate_of(group)
        beta1, beta2 = map(float, group["betas"])
        return Numbers((lr, beta1, beta2), (), *decays(group, lr, is_apart=True))
