# SPDX-License-Identifier: Apache-2.0
"""TensorFlow's scatter ops: rows of an array combined with updates, in place.

    row = ref[indices[i]];  row = row <op> updates[i]        in the order of the flattened indices

Args (of every op):
    ref: array of rank >= 1, updated; C-contiguous. For resource variables TensorFlow calls it
        ``resource``. float16, bfloat16, float32, float64, complex64, complex128, or any integer;
        Min and Max take no complex numbers, Update takes any dtype of numbers or bool.
    indices: int32 or int64 of any shape, or a `slotwise.RowPlan`; each in ``[0, len(ref))``.
    updates: shape ``indices.shape + ref.shape[1:]``, or a scalar for all; of ref's dtype.
    use_locking: exclusive use of ref's memory among calls that pass True.

Repeats of an index apply in order; of Update, the last one stays. Integers wrap around and divide
toward zero; Min and Max keep the stored number where it ties or either is NaN. The result does not
depend on the number of threads.

Raises:
    TypeError: dtypes that do not go together.
    ValueError: shapes, an index out of range, or a zero among the updates of Div; nothing has been
        written.
"""

from slotwise.raw_ops import _make

__all__ = _make.define(_make.scatter_ops(), globals())
