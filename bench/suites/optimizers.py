# SPDX-License-Identifier: Apache-2.0
"""Steps of whole optimizers (both Keras APIs): lists of variables, tables, clipping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.results.records import Record
from bench.results.units import MI
from bench.results.views import Brief
from bench.suites.base import Case, Options, Suite
from bench.suites.many import LISTS
from bench.suites.sparse import workloads
from bench.work.base import DTYPES, Work
from bench.work.ops import Scalar
from bench.work.optimizers import CLIPPED, MANY, OPTIMIZERS, ROWS, OptimizerWork
from bench.work.rows import Batch

NAME = "optimizers"
_CLIPPED_SIZE = {"targets": 64 * MI, "quick": 4 * MI, "full": 64 * MI}


@dataclass(frozen=True)
class OptimizerCase(Case):
    """``size`` is the number of elements of the gradients."""

    batch: Batch | None = None

    def work(self, terms: Mapping[str, Scalar] | None = None) -> Work:
        clips: dict[str, Any] = {**self.override, **(terms or {})}
        return OptimizerWork(
            optimizer=OPTIMIZERS[self.op],
            dtype=DTYPES[self.dtype],
            shapes=self.shapes,
            batch=self.batch,
            clips=clips,
        )


class Optimizers(Suite):
    name = NAME
    title = "Optimizers"
    about = (
        "One apply_gradients of an optimizer of either Keras API, with Keras's meaning of sparse "
        "gradients. Sizes are the elements of the gradients."
    )
    limits = True
    limit = "a plain loop over as many bytes"
    rank = 10
    asked = "steps"
    method = "optimizer"

    def cases(self, options: Options) -> list[Case]:
        chosen = [name for name in OPTIMIZERS if not options.ops or name in options.ops]
        batches = workloads(options.level)
        if options.level != "full":
            batches = batches[:1]
        found: list[Case] = []
        for dtype in options.dtypes or ("float32",):
            for name in chosen:
                on = OPTIMIZERS[name].on
                if MANY in on:
                    found.append(_many(name, dtype))
                if CLIPPED in on:
                    sizes = options.sizes or (_CLIPPED_SIZE[options.level],)
                    found += [_clipped(name, dtype, size) for size in sizes]
                if ROWS in on:
                    found += [_on_rows(name, dtype, batch) for batch in batches]
        return found

    def place(self, record: Record) -> str:
        return record.variant

    def briefs(self, records: Sequence[Record]) -> list[Brief]:
        many = [r for r in records if r.variant == MANY]
        clipped = [r for r in records if r.variant == CLIPPED]
        rows = [r for r in records if r.variant not in (MANY, CLIPPED)]
        return [
            Brief("a step of 1000 variables of 64 elements", many),
            Brief("a step on a batch of a table's rows", rows),
            Brief("a step with a global norm", clipped, first=False),
        ]


def _many(name: str, dtype: str) -> Case:
    shapes = LISTS[MANY]
    return OptimizerCase(NAME, name, dtype, sum(n for (n,) in shapes), MANY, shapes=shapes)


def _clipped(name: str, dtype: str, size: int) -> Case:
    norm = {"global_clipnorm": size**0.5 / 4}  # below the gradient's, so it clips
    against = ("tf_keras",)
    return OptimizerCase(NAME, name, dtype, size, CLIPPED, norm, ((size,),), against)


def _on_rows(name: str, dtype: str, batch: Batch) -> Case:
    size, against = batch.count * batch.width, OPTIMIZERS[name].peers
    return OptimizerCase(NAME, name, dtype, size, batch.label, against=against, batch=batch)


SUITE = Optimizers()
