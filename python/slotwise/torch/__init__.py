# SPDX-License-Identifier: Apache-2.0
"""Optimizers and embeddings for PyTorch, by the kernels of this library.

The optimizers have the names, arguments, defaults, state and semantics of `torch.optim`'s::

    import slotwise.torch as st

    opt = st.AdamW(model.parameters(), lr=1e-3)

From this import on, all calls of the library may run on PyTorch's threads.
"""

from __future__ import annotations

try:
    from torch.optim import Adafactor as _youngest  # noqa: F401
except ImportError as error:
    raise ImportError(
        "slotwise.torch: expected PyTorch 2.5 or newer; pip install 'slotwise[torch]'"
    ) from error

from slotwise.torch import _threads
from slotwise.torch._optimizer import Optimizer
from slotwise.torch.nn import Embedding, EmbeddingBag, EmbeddingBagCollection, Fused, fuse
from slotwise.torch.optim import (
    SGD,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Ftrl,
    Lion,
    NAdam,
    RAdam,
    RMSprop,
    RowWiseAdagrad,
    Rprop,
    SparseAdam,
)

_threads.share_pool()

__all__ = [
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Embedding",
    "EmbeddingBag",
    "EmbeddingBagCollection",
    "Ftrl",
    "Fused",
    "Lion",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "RowWiseAdagrad",
    "Rprop",
    "SparseAdam",
    "fuse",
]
