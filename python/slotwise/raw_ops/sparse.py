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
    Keras does); the sums are never stored. ``"exact"``: the same, except that nothing is rounded
    before the end of a sum, so that the order of ids changes no bit. ``"error"``: a ValueError.

bounds:
    What an id outside of ``[0, rows)`` means. ``"raise"``: a ValueError that names it, before any
    row has changed. ``"skip"``: its gradient is left out, and the op returns how many were. A plan
    has its own bounds; ``"raise"`` refuses one that skipped ids.

offsets, weights, mode, include_last_offset:
    With offsets, rows were pooled by bags, as `slotwise.gather_pooled` does it with the same
    arguments, and ``grad`` has a row for each bag. The gradient of id i in bag b is
    ``weights[i] / d * grad[b]``, in the type that is computed in, with d as in the forward; it is
    formed where it is used. Ids that ``bounds="skip"`` leaves out are in no bag.

Returns:
    ``var``; with ``bounds="skip"``, the number of ids that were left out.
"""

from slotwise.raw_ops import _make

__all__ = _make.define(_make.sparse_ops(), globals())
