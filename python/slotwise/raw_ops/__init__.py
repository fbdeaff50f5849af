# SPDX-License-Identifier: Apache-2.0
"""TensorFlow's training ops for arrays in place.

Every function has the name, the arguments and the defaults of its TensorFlow op, under both of
the op's names (`ApplyAdam` is `ResourceApplyAdam`), hence the capital letters. It updates ``var``
and the slots in place and returns ``var``.

Arrays:
    ``var``, the slots and the gradient have one shape, of any rank, and one dtype: float16,
    bfloat16 (`ml_dtypes.bfloat16`), float32 or float64. Each is a NumPy array, or anything that
    exports the buffer protocol or DLPack on the CPU (a memmap, a torch tensor); none is copied.
    ``var`` and the slots must be writable, C-contiguous and apart from each other. The gradient may
    be strided or read-only, and may be ``var`` itself.

Hyperparameters:
    Real numbers or rank-0 arrays, not NaN. They are rounded to the type that is computed in: the
    arrays' own, or float32 for float16 and bfloat16.

use_locking:
    If True, the call has exclusive use of ``var``'s memory among calls that pass True, whichever
    views of it they were given. If False, it takes no lock.

Raises:
    TypeError: an argument that is no array or no number, an unsupported dtype, or mixed dtypes.
    ValueError: shapes that differ, arrays that are read-only, not contiguous or overlap, NaN, or a
        number out of its range. Whatever the error, nothing has been written.

Numerics are described in docs/numerics.md; where an equation has no value (0 / 0), the gradient
contributes nothing, see docs/deviations.md. ``name`` is accepted for compatibility and ignored.
"""

from slotwise.raw_ops import dense, scatter, sparse
from slotwise.raw_ops.dense import *
from slotwise.raw_ops.scatter import *
from slotwise.raw_ops.sparse import *

__all__ = [*dense.__all__, *scatter.__all__, *sparse.__all__]
