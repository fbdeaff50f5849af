# SPDX-License-Identifier: Apache-2.0
"""Optimizers that TensorFlow does not have, against PyTorch's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from slotwise import Variable, optimizers


@pytest.mark.parametrize("weight_decay", [None, 0.25])
@pytest.mark.parametrize("beta_2", [0.999, 0.9, 0.5])
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-12), (np.float32, 1e-4)])
def test_radam(dtype: Any, rtol: float, beta_2: float, weight_decay: float | None) -> None:
    torch = pytest.importorskip("torch")
    rng, rate = np.random.default_rng(0), 2.0**-7
    var = Variable(rng.uniform(1, 2, 100).astype(dtype))
    parameter = torch.nn.Parameter(torch.tensor(var.numpy()))
    betas = np.float64(0.9), np.float64(beta_2)
    ours = optimizers.RAdam(
        rate, *betas, epsilon=1e-8, adaptive_epsilon=False, weight_decay=weight_decay
    )
    theirs = torch.optim.RAdam(
        [parameter],
        lr=rate,
        betas=(0.9, beta_2),
        weight_decay=weight_decay or 0,
        decoupled_weight_decay=True,
    )
    for _ in range(30):
        grad = rng.standard_normal(100).astype(dtype)
        ours.apply_gradients([(grad, var)])
        parameter.grad = torch.tensor(grad)
        theirs.step()
        np.testing.assert_allclose(var, parameter.detach().numpy(), rtol=rtol)
