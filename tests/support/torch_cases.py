# SPDX-License-Identifier: Apache-2.0
"""Optimizers that PyTorch has, too: how to make them, and parameters and gradients for them."""

from __future__ import annotations

from typing import Any

import slotwise.torch as st
import torch

# Configurations of each optimizer that torch has, too.
CASES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.1, "maximize": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.5, "dampening": 0.5, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", {"amsgrad": True, "maximize": True}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.3, "amsgrad": True}),
    ("Adamax", {}),
    ("Adamax", {"lr": 0.1, "eps": 0.1, "weight_decay": 0.1, "maximize": True}),
    ("NAdam", {}),
    ("NAdam", {"momentum_decay": 0.1, "weight_decay": 0.1, "maximize": True}),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {}),
    ("RAdam", {"lr": 0.1, "betas": (0.5, 0.9), "weight_decay": 0.1}),
    ("RAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.5}),
    ("Adagrad", {"weight_decay": 0.1, "eps": 1e-3, "maximize": True}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.1, "rho": 0.5, "weight_decay": 0.1, "maximize": True}),
    ("RMSprop", {}),
    ("RMSprop", {"alpha": 0.9, "weight_decay": 0.1, "maximize": True}),
    ("RMSprop", {"momentum": 0.9}),
    ("RMSprop", {"centered": True, "eps": 1e-3}),
    ("RMSprop", {"centered": True, "momentum": 0.5, "eps": 1e-3}),
    ("Rprop", {}),
    ("Rprop", {"etas": (0.3, 1.5), "step_sizes": (1e-4, 0.1), "maximize": True}),
    ("Adafactor", {}),
    ("Adafactor", {"lr": 0.1, "eps": (1e-3, 0.1), "d": 1.5, "weight_decay": 0.1}),
]
NAMES = sorted({name for name, _ in CASES})
# Those that update each element by itself, in whatever order elements lie.
PER_ELEMENT = [case for case in CASES if case[0] != "Adafactor"]
SHAPES = [(3, 4), (5,), (), (2, 3, 3), (0, 4), (129,)]
SHAPES_OF = {"Adafactor": [(3, 4), (5,), (), (2, 3, 3), (1, 1), (129,)]}  # torch divides by 0


def case_id(value: Any) -> str | None:
    return "-".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else None


def parameters(
    seed: int = 0, dtype: torch.dtype = torch.float32, shapes: Any = SHAPES
) -> list[torch.nn.Parameter]:
    source = torch.Generator().manual_seed(seed)
    made = [torch.randn(s, generator=source, dtype=torch.float64) for s in shapes]
    return [torch.nn.Parameter(x.to(torch.float32).to(dtype)) for x in made]


def two_lists(
    name: str, dtype: torch.dtype = torch.float32
) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    shapes = SHAPES_OF.get(name, SHAPES)
    return parameters(dtype=dtype, shapes=shapes), parameters(dtype=dtype, shapes=shapes)


def give_gradients(step: int, *lists: list[torch.nn.Parameter]) -> None:
    """The same gradients to each list."""
    source = torch.Generator().manual_seed(1000 + step)
    for members in zip(*lists, strict=True):
        grad = torch.randn(members[0].shape, generator=source).to(members[0].dtype)
        for p in members:
            p.grad = grad.to(p.dtype).reshape(p.shape).clone()


def ours(name: str, params: Any, **options: Any) -> Any:
    return getattr(st, name)(params, **options)
