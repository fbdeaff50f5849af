# SPDX-License-Identifier: Apache-2.0
"""Modules: embeddings, bags of them, and updates within backward."""

from __future__ import annotations

from slotwise.torch.nn._collection import EmbeddingBagCollection
from slotwise.torch.nn._embedding import Embedding, EmbeddingBag
from slotwise.torch.nn._fuse import Fused, fuse

__all__ = ["Embedding", "EmbeddingBag", "EmbeddingBagCollection", "Fused", "fuse"]
