# SPDX-License-Identifier: Apache-2.0
"""PyTorch's loop with our optimizers and tables: beside torch's own, DeepSpeed's and FBGEMM's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.results.records import Record
from bench.results.units import MI
from bench.results.views import Brief
from bench.suites.base import Case, Options, Suite
from bench.suites.many import LISTS, elements
from bench.suites.sparse import workloads
from bench.work.base import DTYPES, Work
from bench.work.ops import Scalar
from bench.work.optimizers import MANY
from bench.work.rows import Batch
from bench.work.torch_steps import (
    FUSED,
    MODEL,
    NOT_FUSED,
    TORCH_OPTIMIZERS,
    ModelWork,
    TorchStepWork,
)

NAME = "torch"
ONE, ARRAY = "one parameter", "one array"
TABLES, FUSE = "26 tables", "26 tables, fuse"
LISTED = tuple(name for name in LISTS if name != MANY)

OPS_FUSED, OPS_NOT_FUSED = ([f"st.{cls}" for cls in names] for names in (FUSED, NOT_FUSED))
ON_ROWS = ("st.Adagrad", "st.SparseAdam")
OF_DEEPSPEED = ("st.Adam", "st.AdamW")

_ARRAY_SIZE = {"targets": 64 * MI, "quick": 4 * MI, "full": 64 * MI}
_MODEL = {"targets": (1_000_000, 2048), "quick": (10_000, 512), "full": (1_000_000, 2048)}


@dataclass(frozen=True)
class TorchCase(Case):
    """``size`` is the number of elements of the gradients; a model's, of impressions."""

    batch: Batch | None = None
    rows: int = 0  # of a model's table, at most

    def work(self, terms: Mapping[str, Scalar] | None = None) -> Work:
        dtype = DTYPES[self.dtype]
        if self.op == MODEL:
            fuse = self.variant == FUSE
            return ModelWork(dtype=dtype, rows=self.rows, size=self.size, fuse=fuse)
        return TorchStepWork(
            optimizer=TORCH_OPTIMIZERS[self.op],
            dtype=dtype,
            shapes=self.shapes,
            batch=self.batch,
        )


class Torch(Suite):
    name = NAME
    title = "PyTorch"
    about = (
        "One opt.step() of slotwise.torch's optimizers on PyTorch's parameters, and one whole step "
        "(forward, backward, update) of the DLRM of the examples, on 26 tables with bags of 0 to "
        "20 ids. torch takes its fused kernels where it has them, else the faster of foreach and a "
        "loop. Sizes are the elements of the gradients, or the impressions of a batch."
    )
    limits = True
    limit = "a plain loop over as many bytes"
    rank = 11
    asked = "steps"
    method = "in_torch"

    def cases(self, options: Options) -> list[Case]:
        if options.dtypes and "float32" not in options.dtypes:
            return []
        level = options.level
        listed = ("st.Adam", "st.RMSprop") if level == "quick" else (*OPS_FUSED, *OPS_NOT_FUSED)
        found: list[Case] = [_dense("st.Adam", ONE, ((64,),)), _dense("st.Adam", MANY, LISTS[MANY])]
        found += [_dense(op, name, LISTS[name]) for name in LISTED for op in listed]
        for size in options.sizes or (_ARRAY_SIZE[level],):
            found += [_dense(op, ARRAY, ((size,),)) for op in (*OPS_FUSED, *OPS_NOT_FUSED)]
        found += [_on_rows(op, workloads(level)[0]) for op in ON_ROWS]
        found += [_model(variant, *_MODEL[level]) for variant in (TABLES, FUSE)]
        return [case for case in found if not options.ops or case.op in options.ops]

    def place(self, record: Record) -> str:
        return record.variant

    def briefs(self, records: Sequence[Record]) -> list[Brief]:
        dense = [r for r in records if r.variant in (ONE, ARRAY, *LISTS)]
        models = [r for r in records if r.op == MODEL]
        rows = [r for r in records if "ids" in r.extra]
        return [
            Brief("a step of a PyTorch optimizer", dense, first=False),
            Brief("a step by a sparse gradient in PyTorch", rows, first=False),
            Brief("a whole step of a DLRM in PyTorch", models, first=False),
        ]


def _dense(op: str, variant: str, shapes: tuple[tuple[int, ...], ...]) -> TorchCase:
    with_deepspeed = variant == ARRAY and op in OF_DEEPSPEED
    against = ("torch", "deepspeed") if with_deepspeed else ("torch",)
    size = elements(shapes)
    return TorchCase(NAME, op, "float32", size, variant, shapes=shapes, against=against)


def _on_rows(op: str, batch: Batch) -> TorchCase:
    size = batch.count * batch.width
    return TorchCase(NAME, op, "float32", size, batch.label, against=("torch",), batch=batch)


def _model(variant: str, rows: int, size: int) -> TorchCase:
    return TorchCase(NAME, MODEL, "float32", size, variant, against=("torch", "fbgemm"), rows=rows)


SUITE = Torch()
