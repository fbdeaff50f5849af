"""Steps of whole optimizers (the legacy Keras API): lists of variables, tables, clipping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.ops import Scalar
from bench.optimizers import OPTIMIZERS, OptimizerWork
from bench.rows import Batch
from bench.suites.base import Case, Options, Suite
from bench.suites.dense import MI
from bench.suites.many import LISTS
from bench.suites.sparse import workloads
from bench.work import DTYPES, Work

NAME = "optimizers"
MANY = "1000 x 64"
CLIPPED = "global_clipnorm"
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
        "One apply_gradients of an optimizer of the legacy Keras API, with Keras's meaning of "
        "sparse gradients. Sizes are the elements of the gradients."
    )
    limits = True
    rank = 8
    method = "optimizer"

    def cases(self, options: Options) -> list[Case]:
        chosen = [name for name in OPTIMIZERS if not options.ops or name in options.ops]
        batches = workloads(options.level)
        if options.level != "full":
            batches = batches[:1]
        found: list[Case] = []
        for dtype in options.dtypes or ("float32",):
            if "Adam" in chosen:
                found += _dense(dtype, options)
            found += [
                OptimizerCase(
                    self.name,
                    name,
                    dtype,
                    batch.count * batch.width,
                    batch.label,
                    against=("tf_keras",),
                    batch=batch,
                )
                for batch in batches
                for name in chosen
            ]
        return found


def _dense(dtype: str, options: Options) -> list[Case]:
    shapes = LISTS[MANY]
    many = OptimizerCase(NAME, "Adam", dtype, sum(n for (n,) in shapes), MANY, shapes=shapes)
    clipped = [
        OptimizerCase(
            NAME,
            "Adam",
            dtype,
            size,
            CLIPPED,
            {"global_clipnorm": size**0.5 / 4},  # below the norm, so it clips
            ((size,),),
            against=(),
        )
        for size in options.sizes or (_CLIPPED_SIZE[options.level],)
    ]
    return [many, *clipped]


SUITE = Optimizers()
