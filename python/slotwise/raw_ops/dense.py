# SPDX-License-Identifier: Apache-2.0
"""TensorFlow's dense training ops. The package says what holds for all of them."""

from slotwise.raw_ops import _make

__all__ = _make.define(_make.dense_ops(), globals())
