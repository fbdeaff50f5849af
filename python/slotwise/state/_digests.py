# SPDX-License-Identifier: Apache-2.0
"""What tells the content of a checkpoint from another's, however many ranks wrote it."""

from __future__ import annotations

import json

from slotwise.optimizers._kinds import PATH
from slotwise.state import _checksums
from slotwise.state._errors import StateError
from slotwise.state._files import AnyPath
from slotwise.state._reader import Reader


def digests(path: AnyPath) -> dict[str, str]:
    """A digest of each tensor of a checkpoint, by name: equal if dtype, shape and content are.

    It does not depend on the number of ranks that wrote the checkpoint, nor on its files. It is
    made of the checksums in the headers; the data is not read. A table that was spread over ranks
    has its rows in another order than one that was not, and another digest.

    Args:
        path: what `slotwise.save` wrote.

    Raises:
        StateError: no checkpoint, a damaged one, or one that slotwise did not write.

    Example:
        >>> import numpy as np, slotwise, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> for name in ("a", "b.safetensors"):
        ...     _ = slotwise.save(f"{folder}/{name}", variables={"w": np.ones(3)})
        >>> a, b = (slotwise.state.digests(f"{folder}/{name}") for name in ("a", "b.safetensors"))
        >>> a == b, [*a]
        (True, ['w'])
    """
    found = {}
    with Reader(PATH("digests", "path", path)) as reader:
        if "id" not in reader.metadata:
            raise StateError(f"{reader.path}: slotwise did not write it")
        for name in reader.names:
            tensor = reader.tensor(name)
            kind = [str(tensor.dtype), tensor.shape, tensor.buckets, tensor.checksums]
            found[name] = _checksums.checksum(json.dumps(kind).encode())
    return found
