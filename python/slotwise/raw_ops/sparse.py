# SPDX-License-Identifier: Apache-2.0
"""TensorFlow's sparse training ops: updates of the rows of a table that a batch touched.

The rule of every op is that of its dense op, applied to a row: the same formula, the same bits. The
module `slotwise.raw_ops` says what holds for all ops; this is what sparse ones add.

indices:
    int32 or int64, shape ``(n,)``: the row of ``var`` (and of the slots) that each row of ``grad``
    is for. Or a `slotwise.RowPlan` made of them once. ``grad`` has shape ``(n, *var.shape[1:])``.

duplicates:
    What equal ids mean. ``"sequential"``: each occurrence is applied in turn, on top of the one
    before. ``"sum"``: their gradients are summed in order of appearance, then applied once (what
    Keras does); the sums are never stored. ``"error"``: a ValueError.

bounds:
    What an id outside of ``[0, rows)`` means. ``"raise"``: a ValueError that names it, before any
    row has changed. ``"skip"``: its gradient is left out, and the op returns how many were. A plan
    has its own bounds; ``"raise"`` refuses one that skipped ids.

Returns:
    ``var``; with ``bounds="skip"``, the number of ids that were left out.
"""

from slotwise.raw_ops import _make

__all__ = _make.define(_make.sparse_ops(), globals())
