# SPDX-License-Identifier: Apache-2.0
"""slotwise itself, called by keywords as its documentation shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bench.measure.ranks import on_ranks
from bench.peers.base import Peer
from bench.results.records import OURS, otherwise
from bench.work.bags import BagStepWork, PooledWork
from bench.work.base import DenseWork, RuleWork, Work
from bench.work.contestant import State, Subject, Unsupported
from bench.work.optimizers import GRADIENT, VAR, Config, OptimizerWork, StepWork, TurnsWork
from bench.work.ranks import RanksWork
from bench.work.rows import RowsWork, SparseWork
from bench.work.state import StateWork
from bench.work.torch_steps import ModelWork, TorchStepWork, example


def keywords(names: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in names.items())


class Slotwise(Peer):
    name = OURS
    modules = ("slotwise",)
    distributions = ("slotwise",)
    usage = (
        "raw_ops by keywords, NumPy arrays, Python floats as hyperparameters; tables are made by "
        "slotwise.zeros; optimizers with slotwise.Variable"
    )

    def start(self, threads: int) -> None:
        import slotwise

        slotwise.set_num_threads(threads)

    def settings(self) -> dict[str, str]:
        import slotwise

        return {"threads": str(slotwise.get_num_threads()), "target": slotwise.active_target()}

    def _function(self, work: RuleWork) -> Any:
        from slotwise import raw_ops

        function = getattr(raw_ops, work.op.name, None)
        if function is None:
            raise Unsupported(f"slotwise has no {work.op.name} yet")
        return function

    def dense(self, work: DenseWork) -> Subject:
        return self._subject(work, "")

    def many(self, work: DenseWork) -> Subject:
        return self._subject(work, "for a in tensors: ")

    def _subject(self, work: DenseWork, prefix: str) -> Subject:
        """One call on the only tensor, or a loop of calls over a list of them."""
        function, arrays = self._function(work), work.arrays()
        op, values = work.op, {**work.hyperparameters, **work.attributes}
        names: dict[str, Any] = {op.name: function}
        given: dict[str, str] = {}
        for argument in [*op.arguments, *work.attributes]:
            if argument in values:
                given[argument] = repr(values[argument])
            else:
                given[argument] = f"a[{argument!r}]" if prefix else argument
        if prefix:
            names["tensors"] = arrays
        else:
            names |= arrays[0]
        gradient = op.gradient

        def state() -> State:
            return [{k: v for k, v in a.items() if k != gradient} for a in arrays]

        return Subject(f"{prefix}{op.name}({keywords(given)})", names, state)

    def sparse(self, work: SparseWork) -> Subject:
        import slotwise

        function, tables = self._function(work), work.tables(slotwise.zeros)
        given = {name: repr(value) for name, value in work.hyperparameters.items()}
        given |= {name: name for name in (*tables, "grad")}
        names: dict[str, Any] = {work.op.name: function, **tables, "grad": work.gradient()}
        if work.batches > 1:
            given["indices"], names["batches"] = "next(batches)", work.in_turn()
        else:
            given["indices"], names["ids"] = "ids", work.batch.ids
        if work.duplicates != "sequential":
            given["duplicates"] = repr(work.duplicates)
        seen = work.batch.seen

        def state() -> State:
            return [{name: table[seen] for name, table in tables.items()}]

        return Subject(f"{work.op.name}({keywords(given)})", names, state)

    def rows(self, work: RowsWork) -> Subject:
        import slotwise

        ids = work.batch.ids
        names: dict[str, Any] = {work.call: getattr(slotwise, work.call), "ids": ids}
        table = work.table(slotwise.zeros)
        if work.call == "coalesce":
            names["grads"] = table
            exact = ", exact=True" if work.exact else ""
            statement = f"coalesce(ids, grads, {work.batch.rows}{exact})"
        else:
            names["table"] = table
            statement = "gather(table, ids)"
            if work.out:
                names["out"] = np.zeros((ids.size, work.batch.width), work.dtype)
                statement = "gather(table, ids, out)"
        return work.subject(statement, names)

    def pooled(self, work: PooledWork) -> Subject:
        import slotwise

        bags, tables = work.bags, work.tables(slotwise.zeros)
        own = {"table": tables, "ids": bags.ids, "offsets": [bags.bounds[:-1]] * bags.tables}
        names: dict[str, Any] = {"gather_pooled": slotwise.gather_pooled}
        statement = "gather_pooled(table, ids, offsets)"
        if work.apart:
            statement = "[gather_pooled(*own) for own in bags]"
            names["bags"] = list(zip(*own.values(), strict=True))
        else:
            names |= own if bags.tables > 1 else {name: one for name, (one,) in own.items()}

        def state() -> State:
            found = eval(statement, dict(names))
            return work.state(found if work.apart else [found])

        return Subject(statement, names, state)

    def bag_step(self, work: BagStepWork) -> Subject:
        import slotwise

        bags, tables = work.bags, self._tables(work)
        groups = [[table] for table in tables] if work.apart else [tables]
        opts, made = zip(*(self._optimizer(work, own) for own in groups), strict=True)
        arrays = [own for group in made for own in group]
        names: dict[str, Any] = {"slotwise": slotwise, "opt": opts[0], "grads": work.gradient()}
        if bags.tables == 1:
            names |= {"table": tables[0], "ids": bags.ids[0], "shape": bags.table_shapes[0]}
            if work.expands:
                names |= {"np": np, "lengths": np.diff(bags.bounds)}
                slices = "slotwise.IndexedSlices(np.repeat(grads, lengths, axis=0), ids, shape)"
            else:
                names["offsets"] = bags.bounds[:-1]
                slices = "slotwise.PooledSlices(grads, ids, offsets, dense_shape=shape)"
            statement = f"opt.apply_gradients([({slices}, table)])"
        else:
            offsets = [bags.bounds[:-1]] * bags.tables
            names |= {"tables": tables, "ids": bags.ids, "offsets": offsets}
            slices = "slotwise.PooledSlices.of_tables(grads, tables, ids, offsets)"
            statement = f"opt.apply_gradients(zip({slices}, tables))"
            if work.apart:
                names["opts"] = opts  # one each: one that changes tables would prepare every call
                each = f"zip(opts, {slices}, tables)"
                statement = f"for opt, grad, table in {each}: opt.apply_gradients([(grad, table)])"

        def state() -> State:
            return work.state({n: [own[n].value for own in arrays] for n in work.optimizer.arrays})

        return Subject(statement, names, state)

    def _tables(self, work: StepWork) -> list[Any]:
        import slotwise

        return [
            slotwise.Variable(work.array(VAR, shape, slotwise.zeros), name=f"var{i}")
            for i, shape in enumerate(work.table_shapes)
        ]

    def _optimizer(
        self, work: StepWork, tables: Sequence[Any], config: Config | None = None
    ) -> tuple[Any, list[dict[str, Any]]]:
        """An optimizer, and each table with its slots by name, filled with start values."""
        import slotwise

        opt, arrays = work.optimizer.make(slotwise.optimizers, config or work.config, tables)
        for own in arrays:
            for name in work.optimizer.slots:
                slot = own[name].value
                work.array(name, slot.shape, lambda *_, slot=slot: slot.reshape(-1))
        return opt, arrays

    def optimizer(self, work: OptimizerWork) -> Subject:
        import slotwise

        tables = self._tables(work)
        opt, arrays = self._optimizer(work, tables)
        if work.batch is None:
            grads: list[Any] = [work.array(GRADIENT, shape) for shape in work.shapes]
            seen: Any = ...
        else:
            ids, seen = work.batch.ids, work.batch.seen
            grads = [slotwise.IndexedSlices(work.gradient(), ids, tables[0].shape)]
        names = {"opt": opt, "pairs": list(zip(grads, tables, strict=True))}

        def state() -> State:
            return [{name: array.value[seen] for name, array in a.items()} for a in arrays]

        return Subject("opt.apply_gradients(pairs)", names, state)

    def turns(self, work: TurnsWork) -> Subject:
        import slotwise

        assert work.batch is not None
        (table,) = tables = self._tables(work)
        config = {**work.config, "sparse": work.sparse}
        opt, (arrays,) = self._optimizer(work, tables, config)
        grads, seen = work.gradient(), work.batch.seen
        names = {
            "gather": slotwise.gather,
            "IndexedSlices": slotwise.IndexedSlices,
            **{"opt": opt, "table": table, "grads": grads, "shape": table.shape},
            "batches": work.batch.in_turn(work.batches),
        }
        step = "opt.apply_gradients([(IndexedSlices(grads, ids, shape), table)])"

        def state() -> State:
            return [{name: slotwise.gather(array, seen) for name, array in arrays.items()}]

        return Subject(f"ids = next(batches); gather(table, ids); {step}", names, state)

    def in_torch(self, work: TorchStepWork | ModelWork) -> Subject:
        import slotwise

        try:
            import slotwise.torch as st
        except ImportError as reason:
            raise Unsupported(str(reason)) from None
        import torch

        torch.set_num_threads(slotwise.get_num_threads())  # of the networks
        if isinstance(work, ModelWork):
            dlrm = example()
            return work.subject(dlrm.with_slotwise(work.sizes, dlrm.Rates(), work.fuse))
        optimizer = getattr(st, work.optimizer.cls)
        return work.subject(lambda parameters: optimizer(parameters, **work.config))

    def ranks(self, work: RanksWork) -> Subject:
        return on_ranks(work)

    def state(self, work: StateWork) -> Subject:
        import slotwise

        return work.subject(
            {
                "save": "slotwise.save(path, variables=arrays)",
                "load": "slotwise.load(path).arrays",
                "restore": "slotwise.load(path, variables=arrays)",
            },
            "",
            {"slotwise": slotwise},
            lambda path: slotwise.load(path).arrays,
        )


class Otherwise(Slotwise):
    """Other calls of ours for the same work, to measure new ones beside them as beside a peer.

    Args:
        way: what they do, in few words.
        changes: what differs in the work.
    """

    def __init__(self, way: str, **changes: Any) -> None:
        self.name = otherwise(way)
        self.changes = changes

    def given(self, work: Work) -> Work:
        return replace(work, **self.changes)


PEER = Slotwise()
