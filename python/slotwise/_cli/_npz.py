# SPDX-License-Identifier: Apache-2.0
"""Files of `numpy.savez`, written in a stream."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from slotwise.state import _atomic, _threads
from slotwise.state._memory import Source
from slotwise.state._stream import pieces

_TIME = (1980, 1, 1, 0, 0, 0)  # the same tensors make the same file


class Form(NamedTuple):
    """What bfloat16, which NumPy's files do not know, becomes.

    Attributes:
        dtype: in the file.
        is_view: whether bits are kept, not values.
    """

    dtype: np.dtype[Any]
    is_view: bool


FORMS = {
    "float32": Form(np.dtype(np.float32), False),
    "bits": Form(np.dtype(np.uint16), True),
}


@_threads.undisturbed
def write(
    path: Path,
    sources: Mapping[str, Source],
    form: Form,
    check: Callable[[], None],
    advance: Callable[[int], None],
) -> None:
    """Write a file in place of what is there, once it is complete.

    Args:
        path: of the file.
        sources: by name.
        form: of bfloat16.
        check: called before the file takes its place; it raises if it may not.
        advance: told how many bytes of the sources were written.
    """
    with _atomic.replacing(path, False) as place:
        with zipfile.ZipFile(place, "w") as file:
            for name in sources:
                source = sources[name]
                is_ours = source.dtype == ml_dtypes.bfloat16
                dtype = form.dtype if is_ours else source.dtype
                entry = zipfile.ZipInfo(f"{name}.npy", _TIME)
                entry.external_attr = 0o644 << 16
                with file.open(entry, "w", force_zip64=True) as out:
                    descr = np.lib.format.dtype_to_descr(dtype)
                    header = {"descr": descr, "fortran_order": False, "shape": source.shape}
                    np.lib.format.write_array_header_1_0(out, header)
                    for piece in pieces(source):
                        _threads.check()
                        stored = piece
                        if is_ours:
                            stored = piece.view(dtype) if form.is_view else piece.astype(dtype)
                        out.write(stored.data.cast("B"))
                        advance(piece.nbytes)
        check()
