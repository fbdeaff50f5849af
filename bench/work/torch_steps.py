# SPDX-License-Identifier: Apache-2.0
"""Steps in PyTorch: of an optimizer on its parameters, and of the DLRM of the examples."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import cycle
from typing import Any

import numpy as np

from bench.work.base import Array, Work
from bench.work.contestant import State, Subject
from bench.work.optimizers import GRADIENT, VAR, Optimizer, OptimizerWork

# Learning rates are low, as the same gradient comes thousands of times.
_RATE = {"lr": 2.0**-10}
_MOMENTS = {**_RATE, "betas": (1 - 2.0**-3, 1 - 2.0**-8)}

# By the name that users write; arguments and slots are those of torch's optimizer.
TORCH_OPTIMIZERS: dict[str, Optimizer] = {
    "st.Adam": Optimizer("Adam", _MOMENTS, ("exp_avg", "exp_avg_sq")),
    "st.AdamW": Optimizer(
        "AdamW", {**_MOMENTS, "weight_decay": 2.0**-7}, ("exp_avg", "exp_avg_sq")
    ),
    "st.SGD": Optimizer("SGD", {**_RATE, "momentum": 0.875}, ("momentum_buffer",)),
    "st.Adagrad": Optimizer("Adagrad", _RATE, ("sum",), tolerance=1e-4),
    "st.RMSprop": Optimizer("RMSprop", _RATE, ("square_avg",)),
    "st.Adadelta": Optimizer("Adadelta", _RATE, ("square_avg", "acc_delta")),
    "st.NAdam": Optimizer("NAdam", _MOMENTS, ("exp_avg", "exp_avg_sq")),
    "st.Adamax": Optimizer("Adamax", _MOMENTS, ("exp_avg", "exp_inf")),
    "st.RAdam": Optimizer("RAdam", _MOMENTS, ("exp_avg", "exp_avg_sq")),
    "st.SparseAdam": Optimizer("SparseAdam", _MOMENTS, ("exp_avg", "exp_avg_sq"), tolerance=1e-4),
}

# torch has fused kernels for some of these on the CPU, and for others none.
FUSED = ("Adam", "AdamW", "SGD", "Adagrad")
NOT_FUSED = ("RMSprop", "Adadelta", "NAdam", "Adamax", "RAdam")

MODEL = "dlrm"
_BATCHES = 4


@dataclass(frozen=True, kw_only=True)
class TorchStepWork(OptimizerWork):
    """One ``opt.step()``; a table's gradient is a sparse tensor that is not coalesced."""

    def pattern(self, name: str) -> Array:
        """Gradients of rows have one sign: a sum that cancels would depend on its order."""
        values = super().pattern(name)
        return values if self.batch is None or name != GRADIENT else np.abs(values)

    def before(self, name: str, part: slice) -> Array:
        """Slots are made by the first step."""
        values = super().before(name, part)
        return values if name == VAR else np.zeros_like(values)

    def parameters(self) -> list[Any]:
        """Fresh ones, with their gradients, in memory of torch's."""
        import torch

        def array(name: str, shape: tuple[int, ...]) -> Any:
            own = self.array(name, shape, lambda size, _: torch.empty(size).numpy())
            return torch.from_numpy(own)

        found = []
        for shape in self.table_shapes:
            parameter = torch.nn.Parameter(array(VAR, shape))
            if self.batch is None:
                parameter.grad = array(GRADIENT, shape)
            else:
                ids, values = torch.from_numpy(self.batch.ids[None].copy()), self.gradient()
                parameter.grad = torch.sparse_coo_tensor(
                    ids, torch.from_numpy(values), shape, check_invariants=False
                )
            found.append(parameter)
        return found

    def subject(self, make: Callable[[list[Any]], Any], note: str = "") -> Subject:
        """A step of the optimizer that ``make`` makes for the parameters."""
        parameters = self.parameters()
        optimizer = make(parameters)
        seen: Any = ... if self.batch is None else self.batch.seen

        def state() -> State:
            return [
                {
                    name: tensor.detach().numpy()[seen]
                    for name in self.optimizer.arrays
                    for tensor in (p if name == VAR else optimizer.state[p][name],)
                }
                for p in parameters
            ]

        return Subject("opt.step()", {"opt": optimizer}, state, note=note)


def example() -> Any:
    """``examples/dlrm.py``, which needs torch. (mypy would find it under two names.)"""
    return importlib.import_module("examples.dlrm")


@lru_cache(maxsize=1)
def _drawn(rows: tuple[int, ...], most: int, size: int, seed: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    world = example().World(list(rows), most, rng)
    return [world.draw(size, rng) for _ in range(_BATCHES)]


@dataclass(frozen=True, kw_only=True)
class ModelWork(Work):
    """A whole step of ``examples/dlrm.py``: forward, backward, update.

    ``rows``: of a table at most; ``most``: ids in a bag at most; ``fuse``: tables are updated
    within the backward pass.
    """

    rows: int
    size: int
    most: int = 20
    fuse: bool = False

    @property
    def table_rows(self) -> list[int]:
        return [min(n, self.rows) for n in example().CATEGORIES]

    @property
    def sizes(self) -> Any:
        return example().Sizes(self.table_rows, seed=self.seed)

    @property
    def batches(self) -> list[Any]:
        return _drawn(tuple(self.table_rows), self.most, self.size, self.seed)

    @property
    def bytes_moved(self) -> int:
        """Not known: most of the work is in the networks."""
        return 0

    @property
    def loops(self) -> dict[str, tuple[int, int, int]]:
        return {}

    @property
    def tolerance(self) -> float:
        """Of a probability."""
        return 1e-3

    def before(self, name: str, part: slice) -> Array:
        return np.zeros(part.stop - part.start, self.dtype)

    def subject(self, model: Any) -> Subject:
        """Steps on some batches in turn; what the model then says of the first one is compared."""
        first = self.batches[0]
        names = {"model": model, "batches": cycle(self.batches)}

        def state() -> State:
            return [{"probability": 1 / (1 + np.exp(-model.predict(first)))}]

        return Subject("model.step(next(batches))", names, state)
