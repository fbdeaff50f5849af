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

# Written by scripts/make_stub.py.

from slotwise.raw_ops._make import Array, ArrayT

def ScatterAdd(
    ref: ArrayT,
    indices: Array,
    updates: Array,
    use_locking: bool = False,
    name: str | None = None,
) -> ArrayT:
    """Set rows to ``row + update``. Arguments and errors are those of the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> raw_ops.ScatterAdd(np.ones(3), np.array([1]), np.array([2.0])).tolist()
        [1.0, 3.0, 1.0]
    """

def ResourceScatterAdd(
    resource: ArrayT,
    indices: Array,
    updates: Array,
    name: str | None = None,
) -> ArrayT:
    """Set rows to ``row + update``. Arguments and errors are those of the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> raw_ops.ResourceScatterAdd(np.ones(3), np.array([1]), np.array([2.0])).tolist()
        [1.0, 3.0, 1.0]
    """

def ScatterSub(
    ref: ArrayT,
    indices: Array,
    updates: Array,
    use_locking: bool = False,
    name: str | None = None,
) -> ArrayT:
    """Set rows to ``row - update``. Arguments and errors are those of the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> raw_ops.ScatterSub(np.ones(3), np.array([1]), np.array([2.0])).tolist()
        [1.0, -1.0, 1.0]
    """

def ResourceScatterSub(
    resource: ArrayT,
    indices: Array,
    updates: Array,
    name: str | None = None,
) -> ArrayT:
    """Set rows to ``row - update``. Arguments and errors are those of the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> raw_ops.ResourceScatterSub(np.ones(3), np.array([1]), np.array([2.0])).tolist()
        [1.0, -1.0, 1.0]
    """

def ScatterMul(
    ref: ArrayT,
    indices: Array,
    updates: Array,
    use_locking: bool = False,
    name: str | None = None,
) -> ArrayT:
    """Set rows to ``row * update``. Arguments and errors are those of the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> raw_ops.ScatterMul(np.ones(3), np.array([1]), np.array([2.0])).tolist()
        [1.0, 2.0, 1.0]
    """

def ResourceScatterMul(
    resource: ArrayT,
    indices: Array,
    updates: Array,
    name: str | None = None,
) -> ArrayT:
    """Set rows to ``row * update``. Arguments and errors are those of the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> raw_ops.ResourceScatterMul(np.ones(3), np.array([1]), np.array([2.0])).tolist()
        [1.0, 2.0, 1.0]
    """

def ScatterDiv(
    ref: ArrayT,
    indices: Array,
    updates: Array,
    use_locking: bool = False,
    name: str | None = None,
) -> ArrayT:
    """Set rows to ``row / update``. Arguments and errors are those of the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> raw_ops.ScatterDiv(np.ones(3), np.array([1]), np.array([2.0])).tolist()
        [1.0, 0.5, 1.0]
    """

def ResourceScatterDiv(
    resource: ArrayT,
    indices: Array,
    updates: Array,
    name: str | None = None,
) -> ArrayT:
    """Set rows to ``row / update``. Arguments and errors are those of the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> raw_ops.ResourceScatterDiv(np.ones(3), np.array([1]), np.array([2.0])).tolist()
        [1.0, 0.5, 1.0]
    """

def ScatterMin(
    ref: ArrayT,
    indices: Array,
    updates: Array,
    use_locking: bool = False,
    name: str | None = None,
) -> ArrayT:
    """Set rows to ``min(row, update)``. Arguments and errors are those of the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> raw_ops.ScatterMin(np.ones(3), np.array([1]), np.array([2.0])).tolist()
        [1.0, 1.0, 1.0]
    """

def ResourceScatterMin(
    resource: ArrayT,
    indices: Array,
    updates: Array,
    name: str | None = None,
) -> ArrayT:
    """Set rows to ``min(row, update)``. Arguments and errors are those of the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> raw_ops.ResourceScatterMin(np.ones(3), np.array([1]), np.array([2.0])).tolist()
        [1.0, 1.0, 1.0]
    """

def ScatterMax(
    ref: ArrayT,
    indices: Array,
    updates: Array,
    use_locking: bool = False,
    name: str | None = None,
) -> ArrayT:
    """Set rows to ``max(row, update)``. Arguments and errors are those of the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> raw_ops.ScatterMax(np.ones(3), np.array([1]), np.array([2.0])).tolist()
        [1.0, 2.0, 1.0]
    """

def ResourceScatterMax(
    resource: ArrayT,
    indices: Array,
    updates: Array,
    name: str | None = None,
) -> ArrayT:
    """Set rows to ``max(row, update)``. Arguments and errors are those of the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> raw_ops.ResourceScatterMax(np.ones(3), np.array([1]), np.array([2.0])).tolist()
        [1.0, 2.0, 1.0]
    """

def ScatterUpdate(
    ref: ArrayT,
    indices: Array,
    updates: Array,
    use_locking: bool = False,
    name: str | None = None,
) -> ArrayT:
    """Set rows to ``update``. Arguments and errors are those of the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> raw_ops.ScatterUpdate(np.ones(3), np.array([1]), np.array([2.0])).tolist()
        [1.0, 2.0, 1.0]
    """

def ResourceScatterUpdate(
    resource: ArrayT,
    indices: Array,
    updates: Array,
    name: str | None = None,
) -> ArrayT:
    """Set rows to ``update``. Arguments and errors are those of the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> raw_ops.ResourceScatterUpdate(np.ones(3), np.array([1]), np.array([2.0])).tolist()
        [1.0, 2.0, 1.0]
    """

__all__ = [
    "ResourceScatterAdd",
    "ResourceScatterDiv",
    "ResourceScatterMax",
    "ResourceScatterMin",
    "ResourceScatterMul",
    "ResourceScatterSub",
    "ResourceScatterUpdate",
    "ScatterAdd",
    "ScatterDiv",
    "ScatterMax",
    "ScatterMin",
    "ScatterMul",
    "ScatterSub",
    "ScatterUpdate",
]
