# SPDX-License-Identifier: Apache-2.0
"""SparseAdam."""

from __future__ import annotations

import torch

from slotwise._tables import IndexedSlices
from slotwise.torch._optimizer import (
    Group,
    Kernel,
    Numbers,
    Optimizer,
    Pair,
    Part,
    Work,
    corrections,
    decays,
    rate_of,
)


class SparseAdam(Optimizer, torch.optim.SparseAdam):
    """``torch.optim.SparseAdam`` by our kernels: Adam of the rows that a gradient has.

    With t the number of the step, and g the sum of a row's gradients::

        m += (g - m) * (1 - beta1)
        v += (g^2 - v) * (1 - beta2)
        p -= lr * sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + eps)

    Args:
        params, lr, betas, eps, maximize: as in ``torch.optim.SparseAdam``. Gradients are sparse.
        sparse: what a sparse gradient means (see ``slotwise.torch.Optimizer``).

    Example:
        >>> import torch, slotwise.torch as st
        >>> table = torch.nn.Embedding(3, 2, sparse=True, _weight=torch.ones(3, 2))
        >>> opt = st.SparseAdam(table.parameters(), lr=0.5)
        >>> table(torch.tensor([0, 2])).sum().backward()
        >>> opt.step()
        >>> table.weight.detach()[:, 0]
        tensor([0.5000, 1.0000, 0.5000])
    """

    _counts_in_tensors = False  # as in torch

    def _kernel(self, group: Group, parameter: torch.Tensor) -> Kernel:
        return Kernel("Adam", ("exp_avg", "exp_avg_sq"), (False,))

    def _numbers(self, group: Group, part: Part) -> Numbers:
        lr, step = rate_of(group), part.counters[0] + 1
        beta1, beta2, correction, root = corrections(group["betas"], step)
        hypers = (0.0, 0.0, lr * root / correction, beta1, beta2, float(group["eps"]))
        return Numbers(hypers, (step,), *decays(group, lr, is_apart=False))

    def _parts(self, place: int, group: Group, pairs: list[Pair]) -> list[Work]:
        for grad, _ in pairs:
            if not isinstance(grad, IndexedSlices) and not grad.is_sparse:
                raise RuntimeError(
                    f"{self._op}: SparseAdam does not support dense gradients, "
                    "please consider Adam instead"
                )
        return super()._parts(place, group, pairs)
