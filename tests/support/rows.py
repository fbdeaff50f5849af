# SPDX-License-Identifier: Apache-2.0
"""The sparse op of every row of the table in ops.py that has one: arguments, calls, results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from support import reference
from support.ops import CASES, DTYPES, OPS, POSITIVE, Case, Op, draw
from support.reference import Array, Vec

ROW_WISE_ADAGRAD = Op(
    "ApplyRowWiseAdagrad",  # sparse only; one element of accum per row
    reference.row_wise_adagrad,
    "var accum lr epsilon grad",
    {"lr": 0.07, "epsilon": 1e-3},
    slots={"accum": POSITIVE},
    tf_dtypes=frozenset(),
)

# TensorFlow has a sparse kernel of these, but for the first not computed in the dense order.
TF_ROUNDS_OTHERWISE = ("Adagrad", "AdagradDA", "RMSProp", "CenteredRMSProp")
TF_HAS = (
    *TF_ROUNDS_OTHERWISE,
    *("Adadelta", "AdagradV2", "ProximalGradientDescent", "ProximalAdagrad"),
    *("Ftrl", "FtrlV2", "Momentum", "KerasMomentum"),
)
TF_HAS_NO_BF16 = ("RMSProp", "CenteredRMSProp")  # but their dense ops do

SEQUENTIAL, SUM = "sequential", "sum"
MODES = (SEQUENTIAL, SUM)


def occurrences(ids: Array) -> Iterator[Array]:
    """The positions of every id's first occurrence, of every id's second one, and so on."""
    seen: dict[int, int] = {}
    number = np.empty(ids.size, np.int64)
    for i, row in enumerate(ids.tolist()):
        number[i] = seen[row] = seen.get(row, -1) + 1
    order = np.argsort(number, kind="stable")
    return (x for x in np.split(order, np.cumsum(np.bincount(number))) if x.size)


def summed(ids: Array, grad: Array) -> tuple[Array, Array]:
    """Distinct ids by first appearance, and their gradients' sums in the compute type."""
    order: dict[int, int] = {}
    place = np.array([order.setdefault(row, len(order)) for row in ids.tolist()], np.int64)
    sums = np.empty((len(order), *grad.shape[1:]), reference.compute_dtype(grad.dtype))
    with np.errstate(all="ignore"):
        for number, at in enumerate(occurrences(ids)):
            terms = Vec(grad[at].astype(sums.dtype))
            sums[place[at]] = (terms if number == 0 else Vec(sums[place[at]]) + terms).data
    return np.array([*order], np.int64), sums


@dataclass(frozen=True, eq=False)
class SparseCase:
    """The sparse op of a rule, with its hyperparameters and attrs chosen."""

    case: Case

    def __str__(self) -> str:
        return f"Sparse{self.case}"

    @property
    def op(self) -> Op:
        return self.case.op

    @property
    def name(self) -> str:
        return f"Sparse{self.op.name}"

    @property
    def rule(self) -> str:
        return self.op.name.removeprefix("Apply")

    @property
    def function(self) -> Any:
        from slotwise import raw_ops  # not above: the table serves TensorFlow alone, too

        return getattr(raw_ops, self.name)

    @property
    def arguments(self) -> str:
        """TensorFlow's, in TensorFlow's order: those of the dense op, and indices."""
        names = self.op.arguments.split()
        return " ".join("grad indices" if n == self.op.gradient else n for n in names)

    @property
    def arrays(self) -> tuple[str, ...]:
        return (*self.op.outputs, "grad")

    def is_in_tensorflow(self, tag: str) -> bool:
        if tag == "bf16" and self.rule in TF_HAS_NO_BF16:
            return False
        return self.rule in TF_HAS and tag in self.op.tf_dtypes

    @property
    def row_wise(self) -> bool:
        return self.op is ROW_WISE_ADAGRAD

    def draw(
        self, dtype: npt.DTypeLike, rows: int, row: int | tuple[int, ...], ids: int, seed: int
    ) -> dict[str, Array]:
        """A random table of `rows` rows of shape `row` with its slots, and `ids` gradients."""
        row = (row,) if isinstance(row, int) else row
        tables = self.case.draw(dtype, (rows, *row), seed)
        del tables[self.op.gradient]
        if self.row_wise:
            tables["accum"] = draw(np.random.default_rng(seed), POSITIVE, dtype, rows)
        grad = self.case.draw(dtype, (ids, *row), seed + 1)[self.op.gradient]
        return {**tables, "grad": grad}

    def expected(
        self,
        arrays: Mapping[str, Array],
        ids: Array,
        duplicates: str = SEQUENTIAL,
        compute: npt.DTypeLike | None = None,
    ) -> dict[str, Array]:
        """The arrays that the op writes. All ids are in range."""
        op = self.op
        grad = arrays["grad"]
        if duplicates == SUM:
            ids, grad = summed(ids, grad)
        stored = arrays["var"].dtype
        out = {name: arrays[name].astype(compute or stored) for name in op.outputs}
        for at in occurrences(ids):
            rows = {name: x[ids[at]] for name, x in out.items()}
            rows[op.gradient] = grad[at]
            after = reference.evaluate(
                op.rule, rows, self.case.hyper, self.case.attrs, op.outputs, compute
            )
            for name, x in after.items():
                out[name][ids[at]] = x
        return out

    def call(self, arrays: Mapping[str, Any], indices: Any, **changed: Any) -> Any:
        """Call the op on `arrays`, by keywords."""
        given = {**arrays, "indices": indices, **self.case.hyper, **self.case.attrs}
        return self.function(**{**given, **changed})

    def but(self, **hyper: float) -> SparseCase:
        return replace(self, case=self.case.but(**hyper))


SPARSE_CASES = (
    *(SparseCase(case) for case in CASES if case.op.elementwise),
    SparseCase(ROW_WISE_ADAGRAD.default()),
)
SPARSE_OPS = (
    *(SparseCase(op.default()) for op in OPS if op.elementwise),
    SparseCase(ROW_WISE_ADAGRAD.default()),
)  # each once
SPARSE_BY_NAME = {case.name: case for case in SPARSE_OPS}
EXACT_CASES = tuple(case for case in SPARSE_CASES if case.case.exact)
TF_CASES = tuple((c, tag) for c in SPARSE_CASES for tag in DTYPES if c.is_in_tensorflow(tag))
