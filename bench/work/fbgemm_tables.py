# SPDX-License-Identifier: Apache-2.0
"""FBGEMM's embedding tables on the CPU, which are updated in their backward pass."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from bench.work.contestant import Unsupported


def load() -> None:
    """Imports FBGEMM without what it says of parts that are for GPUs."""
    logging.disable(logging.WARNING)
    import fbgemm_gpu  # noqa: F401

    logging.disable(logging.NOTSET)


def fbgemm_tables(
    shapes: Sequence[tuple[int, int]], optimizer: str, lr: float, epsilon: float
) -> Any:
    """One module with tables of these shapes."""
    load()
    import torch
    from fbgemm_gpu import split_table_batched_embeddings_ops_common as common
    from fbgemm_gpu import split_table_batched_embeddings_ops_training as training
    from fbgemm_gpu.split_embedding_configs import EmbOptimType, SparseType

    if any(width % 4 for _, width in shapes):
        raise Unsupported("FBGEMM's tables have rows of a multiple of 4 elements")
    where = (common.EmbeddingLocation.HOST, training.ComputeDevice.CPU)
    return training.SplitTableBatchedEmbeddingBagsCodegen(
        [(rows, width, *where) for rows, width in shapes],
        optimizer=getattr(EmbOptimType, optimizer),
        learning_rate=lr,
        eps=epsilon,
        pooling_mode=common.PoolingMode.SUM,
        bounds_check_mode=common.BoundsCheckMode.NONE,
        output_dtype=SparseType.FP32,
        device=torch.device("cpu"),
    )
