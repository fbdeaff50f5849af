# SPDX-License-Identifier: Apache-2.0
"""FBGEMM's embedding tables on the CPU: exact Adagrad inside of the backward pass.

"Exact" means that the gradients of equal ids are summed first, as by ``duplicates="sum"``. Its
formulas are those of AdagradV2 and RowWiseAdagrad, with epsilon at the same place:

    momentum += g^2          (row-wise: the mean of g^2 over the row)
    weights  -= g * lr / (sqrt(momentum) + eps)

Updates of rows are bags of one id each, so that a row of the gradient belongs to one id. Their
forward pass is not timed: the backward pass runs again and again on one graph. A forward pass that
is timed makes no graph.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from bench.measure.ranks import on_ranks
from bench.peers.base import Peer
from bench.work.bags import Bags, BagStepWork, PooledWork
from bench.work.contestant import State, Subject, Unsupported
from bench.work.fbgemm_tables import fbgemm_tables, load
from bench.work.optimizers import VAR
from bench.work.ranks import FBGEMM, RanksWork
from bench.work.rows import SparseWork
from bench.work.torch_steps import ModelWork, TorchStepWork, example

_OPTIMIZERS = {
    "SparseApplyAdagradV2": "EXACT_ADAGRAD",
    "SparseApplyRowWiseAdagrad": "EXACT_ROWWISE_ADAGRAD",
}


class Fbgemm(Peer):
    name = "fbgemm"
    modules = ("fbgemm_gpu", "torch")
    packages = ("torch==2.13.0", "fbgemm-gpu-cpu==1.8.0")  # the release made for this torch
    distributions = ("fbgemm-gpu-cpu", "torch")
    usage = (
        "SplitTableBatchedEmbeddingBagsCodegen on the CPU, float32, without checks of ids; "
        "output.backward(grad, retain_graph=True), which sums equal ids and updates the tables; "
        "its forward pass under torch.no_grad(), all tables in one call"
    )

    def start(self, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        load()

    def settings(self) -> dict[str, str]:
        import torch

        return {"threads": str(torch.get_num_threads())}

    def sparse(self, work: SparseWork) -> Subject:
        import torch

        optimizer = _OPTIMIZERS.get(work.op.name)
        if optimizer is None or work.duplicates != "sum":
            raise Unsupported("FBGEMM has this rule on the CPU only as exact (row-wise) Adagrad")
        if work.dtype.name != "float32":
            raise Unsupported("measured in float32 only")
        h, batch = work.hyperparameters, work.batch
        shape = (batch.rows, batch.width)
        module = fbgemm_tables([shape], optimizer, float(h["lr"]), float(h["epsilon"]))
        weights = module.split_embedding_weights()[0]
        momentum = module.split_optimizer_states()[0][0]
        tables = work.tables()
        with torch.no_grad():
            weights.copy_(torch.from_numpy(tables["var"]))
            momentum.copy_(torch.from_numpy(tables["accum"]).view(momentum.shape))
        ids = torch.from_numpy(batch.ids.copy())
        output = module(ids, torch.arange(ids.numel() + 1))
        names = {"output": output, "grad": torch.from_numpy(work.gradient())}
        seen = torch.from_numpy(batch.seen)

        def state() -> State:
            return [{"var": weights[seen].detach().numpy(), "accum": momentum[seen].numpy()}]

        return Subject("output.backward(grad, retain_graph=True)", names, state, keep=module)

    def _ids(self, bags: Bags) -> tuple[Any, Any]:
        """Ids of all tables, one table after the other, and where bags begin and end in them."""
        import torch

        starts = [k * bags.batch.count + bags.bounds[:-1] for k in range(bags.tables)]
        offsets = np.append(np.concatenate(starts), bags.tables * bags.batch.count)
        return torch.from_numpy(np.concatenate(bags.ids)), torch.from_numpy(offsets)

    def pooled(self, work: PooledWork) -> Subject:
        import torch

        if work.dtype.name != "float32":
            raise Unsupported("measured in float32 only")
        module = fbgemm_tables(work.bags.table_shapes, "EXACT_ADAGRAD", 0.125, 0.125)
        with torch.no_grad():
            for weights, table in zip(module.split_embedding_weights(), work.tables(), strict=True):
                weights.copy_(torch.from_numpy(table))
        ids, offsets = self._ids(work.bags)
        names = {"tables": torch.no_grad()(module.forward), "ids": ids, "offsets": offsets}

        def state() -> State:
            return work.state([names["tables"](ids, offsets).numpy()])

        return Subject("tables(ids, offsets)", names, state, keep=module)

    def bag_step(self, work: BagStepWork) -> Subject:
        import torch

        if work.optimizer.cls != "Adagrad":
            raise Unsupported("of these optimizers FBGEMM has Adagrad on the CPU")
        if work.dtype.name != "float32":
            raise Unsupported("measured in float32 only")
        config = work.config
        module = fbgemm_tables(
            work.bags.table_shapes, "EXACT_ADAGRAD", config["learning_rate"], config["epsilon"]
        )
        weights = [table.detach() for table in module.split_embedding_weights()]
        states = module.split_optimizer_states()
        arrays = {
            VAR: weights,
            "accumulator": [
                own[0].view(table.shape) for own, table in zip(states, weights, strict=True)
            ],
        }
        for name, own in arrays.items():
            for array in own:
                array.copy_(torch.from_numpy(work.array(name, tuple(array.shape))))
        names = {
            "output": module(*self._ids(work.bags)),
            "grad": torch.from_numpy(work.gradient()),
        }

        def state() -> State:
            return work.state({name: [x.numpy() for x in own] for name, own in arrays.items()})

        return Subject("output.backward(grad, retain_graph=True)", names, state, keep=module)

    def in_torch(self, work: TorchStepWork | ModelWork) -> Subject:
        """The tables of the model; its networks are as torch trains them best."""
        import torch

        if not isinstance(work, ModelWork):
            raise Unsupported("FBGEMM updates tables only")
        dlrm = example()
        sizes, rates = work.sizes, dlrm.Rates()
        shapes = [(rows, sizes.dim) for rows in sizes.rows]
        module = fbgemm_tables(shapes, "EXACT_ADAGRAD", rates.tables, rates.epsilon)
        for number, weights in enumerate(module.split_embedding_weights()):
            weights.detach().copy_(sizes.table(number))
        given = {id(batch): _joined(batch) for batch in work.batches}

        def pool(batch: Any) -> Any:
            return module(*given[id(batch)]).view(-1, len(shapes), sizes.dim)

        model = dlrm.Model(sizes, pool)
        adam = {"lr": rates.networks, "eps": rates.epsilon, "fused": True}
        model.optimizers.append(torch.optim.Adam(model.networks, **adam))
        return work.subject(model)

    def ranks(self, work: RanksWork) -> Subject:
        """As torch's operations spread a table by rows, with these tables on each rank."""
        return on_ranks(replace(work, engine=FBGEMM))


def _joined(batch: Any) -> tuple[Any, Any]:
    """Ids of all tables, one table after the other, and where bags begin and end in them."""
    import torch

    counts = [len(ids) for ids in batch.ids]
    starts = np.cumsum(counts) - counts
    offsets = [own + start for own, start in zip(batch.offsets, starts.tolist(), strict=True)]
    return torch.cat(batch.ids), torch.cat([*offsets, torch.tensor([sum(counts)])])


PEER = Fbgemm()
