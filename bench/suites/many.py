# SPDX-License-Identifier: Apache-2.0
"""Lists of tensors as models have them: what a step over all of them costs."""

from __future__ import annotations

import math

from bench.results.records import Record
from bench.suites.base import Case, Options, Suite

Shapes = tuple[tuple[int, ...], ...]

_OPS = ("ApplyAdam", "ApplyMomentum", "ApplyGradientDescent", "ApplyAdagradV2")


def resnet50() -> Shapes:
    """Parameters of a ResNet-50-like network: 161 tensors, 25.6 M elements."""
    shapes: list[tuple[int, ...]] = [(64, 3, 7, 7), (64,), (64,)]
    width = 64
    for blocks, planes in ((3, 64), (4, 128), (6, 256), (3, 512)):
        for block in range(blocks):
            for out, into, kernel in (
                (planes, width, 1),
                (planes, planes, 3),
                (4 * planes, planes, 1),
            ):
                shapes += [(out, into, kernel, kernel), (out,), (out,)]
            if block == 0:
                shapes += [(4 * planes, width, 1, 1), (4 * planes,), (4 * planes,)]
            width = 4 * planes
    return (*shapes, (1000, 2048), (1000,))


def transformer() -> Shapes:
    """Parameters of a small transformer encoder: 6 layers of width 512, 18.9 M elements."""
    width, hidden = 512, 2048
    layer: Shapes = (
        (3 * width, width),
        (3 * width,),
        (width, width),
        (width,),
        (hidden, width),
        (hidden,),
        (width, hidden),
        (width,),
        *[(width,)] * 4,
    )
    return layer * 6


LISTS: dict[str, Shapes] = {
    "1000 x 64": ((64,),) * 1000,
    "ResNet-50-like": resnet50(),
    "transformer-like": transformer(),
}


class Many(Suite):
    name = "many"
    title = "Lists of tensors"
    about = "One optimizer step over all tensors of a model."
    rank = 2
    asked = "steps"
    method = "many"
    limits = True

    def cases(self, options: Options) -> list[Case]:
        if options.level == "targets":
            return []
        dtypes = options.dtypes or ("float32",)
        ops = options.ops or (_OPS if options.level == "full" else _OPS[:1])
        return [
            Case(self.name, op, dtype, elements(shapes), variant=name, shapes=shapes)
            for dtype in dtypes
            for name, shapes in LISTS.items()
            for op in ops
        ]

    def place(self, record: Record) -> str:
        return record.variant


def elements(shapes: Shapes) -> int:
    return sum(math.prod(shape) for shape in shapes)


SUITE = Many()
