# SPDX-License-Identifier: Apache-2.0
"""RowWiseAdagrad."""

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
)


class RowWiseAdagrad(Optimizer):
    """Adagrad with one accumulator per row, for embeddings (Mudigere et al., 2022).

    With g the sum of a row's gradients, and t the number of the step::

        sum[row] += mean(g^2)
        p[row]   -= lr / (1 + (t - 1) * lr_decay) * g / (sqrt(sum[row]) + eps)

    Args:
        params: parameters of two axes or more, or groups of them. Gradients are sparse.
        lr: the learning rate.
        lr_decay: how the rate falls with the steps.
        initial_accumulator_value: what accumulators begin with.
        eps: keeps the denominator from being zero.
        maximize: whether to go up.
        sparse: rows without a gradient stay as they are, whatever is said.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> import torch, slotwise.torch as st
        >>> table = torch.nn.Embedding(3, 2, sparse=True, _weight=torch.ones(3, 2))
        >>> opt = st.RowWiseAdagrad(table.parameters(), lr=0.5)
        >>> table(torch.tensor([0, 2])).sum().backward()
        >>> opt.step()
        >>> table.weight.detach()[:, 0]
        tensor([0.5000, 1.0000, 0.5000])
    """

    _has_shaped_state = True
    _changes_other_rows = False

    def __init__(
        self,
        params: Any,
        lr: float | torch.Tensor = 1e-2,
        lr_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
        sparse: str = "lazy",
    ) -> None:
        first = initial_accumulator_value
        require("RowWiseAdagrad", lr=lr, lr_decay=lr_decay, eps=eps)
        require("RowWiseAdagrad", initial_accumulator_value=first)
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "initial_accumulator_value": first,
            "eps": eps,
            "maximize": maximize,
        }
        super().__init__(params, defaults, sparse=sparse)

    def _kernel(self, group: Group, parameter: torch.Tensor) -> Kernel:
        return Kernel("RowWiseAdagrad", ("sum",))

    def _numbers(self, group: Group, part: Part) -> Numbers:
        lr, (step,) = rate_of(group), part.counters
        rate = lr / (1 + step * float(group["lr_decay"]))
        return Numbers((rate, float(group["eps"])), (step + 1,), *decays(group, lr, is_apart=False))

    def _first_value(self, name: str, parameter: torch.Tensor, group: Group) -> torch.Tensor:
        return parameter.new_full(parameter.shape[:1], group["initial_accumulator_value"])

    def _as_slot(
        self, name: str, value: torch.Tensor, order: tuple[int, ...] | None
    ) -> torch.Tensor:
        return value
