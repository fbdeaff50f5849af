# SPDX-License-Identifier: Apache-2.0
"""Adafactor."""

from __future__ import annotations

import torch

from slotwise.torch._optimizer import Group, Kernel, Numbers, Optimizer, Part, decays, rate_of


class Adafactor(Optimizer, torch.optim.Adafactor):
    """``torch.optim.Adafactor`` by our kernels (Shazeer and Stern, 2018).

    With t the number of the step and w = t^beta2_decay, of a parameter of two or more axes::

        r += (mean(g^2, last axis) - r) * w
        c += (mean(g^2, axis before) - c) * w
        v  = r * c / max(mean(r), eps1)

    of any other, ``v += (g^2 - v) * w``; and of both, where rms is of the whole parameter::

        x  = g / sqrt(max(v, eps1^2))
        p -= min(lr, 1 / sqrt(t)) * max(eps2, rms(p)) * x / max(1, rms(x) / d)

    Before it, ``p -= lr * weight_decay * p``; rms(p) is taken before that.

    Args:
        params, lr, beta2_decay, eps, d, weight_decay, maximize: as in ``torch.optim.Adafactor``.
            Parameters are contiguous. An eps1 of None is that of each parameter's dtype.
        foreach: accepted; every step is one call.
        sparse: "lazy"; sparse gradients are refused, since a step depends on all rows.

    Example:
        >>> import torch, slotwise.torch as st
        >>> p = torch.nn.Parameter(torch.ones(2))
        >>> opt = st.Adafactor([p], lr=0.5)
        >>> p.sum().backward()
        >>> opt.step()
        >>> p.detach()
        tensor([0.5000, 0.5000])
    """

    _has_shaped_state = True

    def _kernel(self, group: Group, parameter: torch.Tensor) -> Kernel:
        if parameter.is_complex():
            raise RuntimeError(f"{self._op}: Adafactor does not support complex parameters")
        is_matrix = parameter.dim() > 1
        slots = ("row_var", "col_var", "") if is_matrix else ("", "", "variance")
        return Kernel("TorchAdafactor", slots, dtype=parameter.dtype)

    def _numbers(self, group: Group, part: Part) -> Numbers:
        lr, step = rate_of(group), part.counters[0] + 1
        eps1, eps2 = group["eps"]
        if eps1 is None:
            eps1 = torch.finfo(part.kernel.dtype).eps
        rate = min(lr, 1 / step**0.5)
        hypers = (rate, step ** float(group["beta2_decay"]), eps1, float(eps2), float(group["d"]))
        return Numbers(hypers, (step,), *decays(group, lr, is_apart=True))

    def _first_value(self, name: str, parameter: torch.Tensor, group: Group) -> torch.Tensor:
        shape = list(parameter.shape)
        if name == "row_var":
            shape[-1] = 1
        elif name == "col_var":
            shape[-2] = 1
        return parameter.new_zeros(shape)

    def _as_slot(
        self, name: str, value: torch.Tensor, order: tuple[int, ...] | None
    ) -> torch.Tensor:
        axis = {"row_var": -1, "col_var": -2}.get(name)
        return value if axis is None else value.squeeze(axis)
