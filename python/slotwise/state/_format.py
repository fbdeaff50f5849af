"""The header of a safetensors file: made and read, and never trusted. See docs/state.md."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from slotwise.state import _checksums
from slotwise.state._errors import StateError

VERSION = 1
KEY = "slotwise"  # of our metadata, JSON in a string
LIMIT = 100_000_000  # bytes of a header, as the safetensors library has it
ALIGNMENT = 4096  # of the data, and of each tensor whose size is a multiple of it
_BEFORE = b'{"__metadata__":{"' + _checksums.ALGORITHM.encode() + b'":"'

_SIZES = (1, 2, 4, 8)
DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    **{f"{kind.upper()}{8 * n}": np.dtype(f"{kind}{n}") for kind in "iu" for n in _SIZES},
    **{f"F{8 * n}": np.dtype(f"f{n}") for n in _SIZES[1:]},
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Tensor:
    """Where a tensor lies in a file; ``begin`` counts from the start of the file."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    checksums: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def end(self) -> int:
        return self.begin + self.size


def check_dtype(name: str, dtype: np.dtype[Any]) -> None:
    if dtype not in _NAMES:
        raise TypeError(f"save: '{name}': expected a dtype among {[*_NAMES.values()]}, got {dtype}")


def in_order(sizes: Mapping[str, int]) -> list[str]:
    """Names in an order that aligns every tensor without gaps: rounder sizes come first."""
    return sorted(sizes, key=lambda name: -math.gcd(sizes[name], ALIGNMENT))


def header_size(header: Mapping[str, Any]) -> int:
    """Bytes before the data."""
    return -(-(8 + len(_text(header))) // ALIGNMENT) * ALIGNMENT


def entry(dtype: np.dtype[Any], shape: tuple[int, ...], offset: int) -> dict[str, Any]:
    size = math.prod(shape) * dtype.itemsize
    return {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [offset, offset + size]}


def header(metadata: Mapping[str, Any], entries: Mapping[str, Any]) -> dict[str, Any]:
    """The header as a dict."""
    blank = {_checksums.ALGORITHM: "0" * _checksums.DIGITS}
    return {"__metadata__": {**blank, KEY: json.dumps(metadata)}, **entries}


def encode(content: Mapping[str, Any]) -> bytes:
    """The first bytes of a file, up to the data."""
    size = header_size(content) - 8
    if size > LIMIT:
        raise ValueError(f"save: header: expected at most {LIMIT} bytes, got {size}")
    text = _text(content).ljust(size)
    return size.to_bytes(8, "little") + _checksums.seal(text, _BEFORE)


def _text(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def decode(path: str, text: bytes, file_size: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Our metadata (empty in files that others made) and the tensors, from a header.

    Raises:
        StateError: anything that does not fit.
    """
    try:
        content = json.loads(text)
        own = content.pop("__metadata__", {})
        if KEY in own or _checksums.ALGORITHM in own:
            if not _checksums.is_sealed(text, _BEFORE):
                raise StateError(f"{path}: the header is damaged: its checksum is wrong")
            metadata = json.loads(own[KEY])
            if metadata["version"] > VERSION:
                raise StateError(
                    f"{path}: expected a version of at most {VERSION}, got {metadata['version']}: "
                    "a newer slotwise wrote it"
                )
            _check_metadata(path, metadata)
        else:
            metadata = {}
        sums = metadata.get("checksums", {})
        start = 8 + len(text)
        tensors = {
            name: _tensor(path, name, found, start, sums if metadata else None)
            for name, found in content.items()
        }
    except StateError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise StateError(f"{path}: the header is damaged: {error!r}") from None
    _check_places(path, tensors.values(), start, file_size)
    return metadata, tensors


_MEMBERS = {"id": str, "variables": list, "state": list, "checksums": dict, "rows": dict}


def _check_metadata(path: str, metadata: dict[str, Any]) -> None:
    """What loading relies on: whoever forges a file can make its checksum, too."""
    metadata.setdefault("rows", {})
    for member, kind in _MEMBERS.items():
        if type(metadata.get(member)) is not kind:
            raise StateError(f"{path}: the header is damaged: {member}: expected a {kind.__name__}")
    names = (*metadata["variables"], *metadata["state"], *metadata["rows"].values())
    if not all(type(name) is str for name in names):
        raise StateError(f"{path}: the header is damaged: expected names")
    for member in ("config", "extra", "parent"):
        if member not in metadata:
            raise StateError(f"{path}: the header is damaged: {member} is missing")


def _tensor(path: str, name: str, found: Any, start: int, sums: Mapping[str, str] | None) -> Tensor:
    shape, (begin, end) = tuple(found["shape"]), found["data_offsets"]
    if not all(type(n) is int and n >= 0 for n in (*shape, begin, end)):
        raise StateError(f"{path}: '{name}': expected sizes >= 0, got {found}")
    if found["dtype"] not in DTYPES:
        expected = ", ".join(DTYPES)
        raise StateError(f"{path}: '{name}': expected one of {expected}, got {found['dtype']!r}")
    dtype = DTYPES[found["dtype"]]
    size = math.prod(shape) * dtype.itemsize
    if end - begin != size:
        raise StateError(f"{path}: '{name}': expected {size} bytes, got {end - begin}")
    digits = "" if sums is None else sums[name]
    checksums = tuple(
        digits[i : i + _checksums.DIGITS] for i in range(0, len(digits), _checksums.DIGITS)
    )
    if sums is not None and len(checksums) != _checksums.chunks(size):
        raise StateError(f"{path}: '{name}': expected a checksum of each chunk")
    return Tensor(name, dtype, shape, start + begin, checksums)


def _check_places(path: str, tensors: Iterable[Tensor], start: int, file_size: int) -> None:
    """No gap, no overlap, nothing past the end."""
    at = start
    for tensor in sorted(tensors, key=lambda t: (t.begin, t.end)):
        if tensor.begin != at:
            raise StateError(f"{path}: '{tensor.name}': expected at byte {at}, is {tensor.begin}")
        at = tensor.end
        if at > file_size:
            raise StateError(
                f"{path}: '{tensor.name}' ends at byte {at}, but the file has {file_size}: "
                "it is cut off"
            )
    if at != file_size:
        raise StateError(f"{path}: expected {at} bytes, the file has {file_size}")
