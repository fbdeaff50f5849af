# SPDX-License-Identifier: Apache-2.0
"""Plain NumPy, as a user would write the update: ``examples/plain_numpy.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench.peers.base import Peer
from bench.work.base import Array, DenseWork
from bench.work.contestant import State, Subject, Unsupported
from bench.work.ops import OPS as DENSE
from bench.work.rows import RowsWork, SparseWork
from bench.work.state import StateWork
from examples import plain_numpy


class NumPy(Peer):
    name = "numpy"
    modules = ("numpy",)
    distributions = ("numpy",)
    usage = (
        "plain expressions with in-place operators; NumPy runs them on one thread; rows are taken "
        "by indexing and put back, equal ids are found by np.unique and summed by np.add.at"
    )

    def dense(self, work: DenseWork) -> Subject:
        return self._subject(work, many=False)

    def many(self, work: DenseWork) -> Subject:
        return self._subject(work, many=True)

    def _subject(self, work: DenseWork, many: bool) -> Subject:
        if work.attributes:
            raise Unsupported("plain NumPy is written out for the default attrs only")
        update, arrays = getattr(plain_numpy, work.op.name), work.arrays()
        values = work.hyperparameters
        given = {
            name: repr(values[name]) if name in values else (f"a[{name!r}]" if many else name)
            for name in work.op.arguments
        }
        call = f"update({', '.join(given.values())})"
        names: dict[str, Any] = {"update": update}
        names |= {"tensors": arrays} if many else arrays[0]
        gradient = work.op.gradient

        def state() -> State:
            return [{k: v for k, v in a.items() if k != gradient} for a in arrays]

        return Subject(f"for a in tensors: {call}" if many else call, names, state)

    def sparse(self, work: SparseWork) -> Subject:
        update = getattr(plain_numpy, work.op.name.removeprefix("Sparse"), None)
        if update is None or work.attributes:
            raise Unsupported("plain NumPy is written out for the dense ops' rules only")
        if work.duplicates == "sequential" and not work.batch.distinct:
            raise Unsupported("plain NumPy has no update for each of equal ids")
        tables, gradient, values = work.tables(), work.op.gradient, work.hyperparameters
        arguments = DENSE[work.op.name.removeprefix("Sparse")].arguments
        ids, grad = work.batch.ids, work.gradient()

        def step() -> None:
            unique, sums = (ids, grad) if work.batch.distinct else plain_numpy.coalesce(ids, grad)
            rows = {name: table[unique] for name, table in tables.items()}
            given = {**rows, **values, gradient: sums}
            update(*[given[n if n in given else gradient] for n in arguments])
            for name, table in tables.items():
                table[unique] = rows[name]

        def state() -> State:
            return [{name: table[work.batch.seen] for name, table in tables.items()}]

        return Subject("step()", {"step": step}, state)

    def rows(self, work: RowsWork) -> Subject:
        ids, table = work.batch.ids, work.table()
        names: dict[str, Any] = {
            "np": np,
            "table": table,
            "ids": ids,
            "coalesce": plain_numpy.coalesce,
        }
        statement = "coalesce(ids, table)" if work.call == "coalesce" else "table[ids]"
        if work.out:
            names["out"] = np.zeros((ids.size, work.batch.width), work.dtype)
            statement = "np.take(table, ids, axis=0, out=out, mode='clip')"
        return work.subject(statement, names)

    def state(self, work: StateWork) -> Subject:
        def load(path: Path) -> dict[str, Array]:
            with np.load(path) as file:
                return {name: file[name] for name in file.files}

        return work.subject(
            {"save": "np.savez(path, **arrays); sync(path)", "load": "load(path)"},
            ".npz",
            {"np": np, "load": load},
            load,
        )


PEER = NumPy()
