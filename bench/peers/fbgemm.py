# SPDX-License-Identifier: Apache-2.0
"""FBGEMM's embedding tables on the CPU: exact Adagrad inside of the backward pass.

"Exact" means that the gradients of equal ids are summed first, as by ``duplicates="sum"``. Its
formulas are those of AdagradV2 and RowWiseAdagrad, with epsilon at the same place:

    momentum += g^2          (row-wise: the mean of g^2 over the row)
    weights  -= g * lr / (sqrt(momentum) + eps)

Bags of one id each, so that a row of the gradient belongs to one id. The forward pass is not timed:
the backward pass runs again and again on one graph.
"""

from __future__ import annotations

import logging
from typing import Any

from bench.peers.base import Peer
from bench.work.contestant import State, Subject, Unsupported
from bench.work.rows import RowsWork, SparseWork

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
        "SplitTableBatchedEmbeddingBagsCodegen on the CPU, bags of one id, float32; "
        "output.backward(grad, retain_graph=True), which sums equal ids and updates the table"
    )

    def start(self, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        logging.disable(logging.WARNING)
        import fbgemm_gpu  # noqa: F401

        logging.disable(logging.NOTSET)

    def settings(self) -> dict[str, str]:
        import torch

        return {"threads": str(torch.get_num_threads())}

    def _tables(self, rows: int, width: int, optimizer: str, lr: float, epsilon: float) -> Any:
        import torch
        from fbgemm_gpu import split_table_batched_embeddings_ops_common as common
        from fbgemm_gpu import split_table_batched_embeddings_ops_training as training
        from fbgemm_gpu.split_embedding_configs import EmbOptimType, SparseType

        if width % 4:
            raise Unsupported("FBGEMM's tables have rows of a multiple of 4 elements")
        where = (common.EmbeddingLocation.HOST, training.ComputeDevice.CPU)
        return training.SplitTableBatchedEmbeddingBagsCodegen(
            [(rows, width, *where)],
            optimizer=getattr(EmbOptimType, optimizer),
            learning_rate=lr,
            eps=epsilon,
            pooling_mode=common.PoolingMode.SUM,
            bounds_check_mode=common.BoundsCheckMode.NONE,
            output_dtype=SparseType.FP32,
            device=torch.device("cpu"),
        )

    def sparse(self, work: SparseWork) -> Subject:
        import torch

        optimizer = _OPTIMIZERS.get(work.op.name)
        if optimizer is None or work.duplicates != "sum":
            raise Unsupported("FBGEMM has this rule on the CPU only as exact (row-wise) Adagrad")
        if work.dtype.name != "float32":
            raise Unsupported("measured in float32 only")
        h, batch = work.hyperparameters, work.batch
        module = self._tables(
            batch.rows, batch.width, optimizer, float(h["lr"]), float(h["epsilon"])
        )
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

    def rows(self, work: RowsWork) -> Subject:
        import torch

        if work.call != "gather_pooled" or work.dtype.name != "float32":
            raise Unsupported(f"FBGEMM has no {work.call} on the CPU")
        batch = work.batch
        module = self._tables(batch.rows, batch.width, "EXACT_ADAGRAD", 0.125, 0.125)
        with torch.no_grad():
            module.split_embedding_weights()[0].copy_(torch.from_numpy(work.table()))
        ends = torch.tensor([batch.ids.size])
        names = {
            "table": module,
            "ids": torch.from_numpy(batch.ids.copy()),
            "offsets": torch.cat([torch.from_numpy(work.offsets()), ends]),
        }
        return work.subject("table(ids, offsets)", names, lambda found: found.detach().numpy())


PEER = Fbgemm()
