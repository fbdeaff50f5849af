# SPDX-License-Identifier: Apache-2.0
"""The header of a safetensors file: made and read, and never trusted. See docs/state.md."""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes
import numpy as np

from slotwise.state import _checksums
from slotwise.state._errors import StateError

VERSION = 1  # of a checkpoint without tensors in parts
PARTS_VERSION = 2  # of one with such tensors, see `_index`
KEY = "slotwise"  # of our metadata, JSON in a string
LIMIT = 100_000_000  # bytes of a header, as the safetensors library has it
ALIGNMENT = 4096  # of the data, and of each tensor whose size is a multiple of it
_BEFORE = b'{"__metadata__":{"' + _checksums.ALGORITHM.encode() + b'":"'

# What a file may ask of its reader: work and memory go by its size, whatever it says.
TENSORS = 1_000_000
NAME = 4096  # characters
RANK = 32 if np.lib.NumpyVersion(np.__version__) < "2.0.0" else 64  # of NumPy's arrays
DEPTH = 100  # of lists and dicts in JSON
NUMBER = 4300  # characters: as many digits as Python takes
_LARGEST = 2**63 - 1  # of sizes and places

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
    """Where a tensor, or a part of one, lies in a file.

    Attributes:
        begin: from the start of the file; of a tensor in parts, 0.
        checksums: of each chunk, if there are any.
        chunk: bytes under one checksum.
        buckets: whether its rows lie in the order of their buckets.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    checksums: tuple[str, ...] = ()
    chunk: int = _checksums.CHUNK
    buckets: bool = False

    @property
    def size(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def end(self) -> int:
        return self.begin + self.size

    @property
    def chunks(self) -> int:
        return _checksums.chunks(self.size, self.chunk)

    def bounds(self, chunk: int) -> tuple[int, int]:
        """Where a chunk begins and ends within the tensor."""
        begin = chunk * self.chunk
        return begin, min(begin + self.chunk, self.size)


def check_dtype(name: str, dtype: np.dtype[Any]) -> None:
    if dtype not in _NAMES:
        raise TypeError(f"save: '{name}': expected a dtype among {[*_NAMES.values()]}, got {dtype}")


def in_order(sizes: Mapping[str, int]) -> list[str]:
    """Names in an order that aligns every tensor without gaps: rounder sizes come first."""
    return sorted(sizes, key=lambda name: -math.gcd(sizes[name], ALIGNMENT))


def header_size(header: Mapping[str, Any]) -> int:
    """Bytes before the data.

    Raises:
        ValueError: `decode` would not take it: a name that is too long, say.
    """
    text = _text(header)
    if len(text) > LIMIT:
        raise ValueError(f"save: header: expected at most {LIMIT} bytes, got {len(text)}")
    ends = [e["data_offsets"][1] for name, e in header.items() if name != "__metadata__"]
    try:
        decode("save", _checksums.seal(text, _BEFORE), 8 + len(text) + max(ends, default=0))
    except StateError as error:
        raise ValueError(str(error)) from None
    return 8 + len(text)


def entry(dtype: np.dtype[Any], shape: tuple[int, ...], offset: int) -> dict[str, Any]:
    size = math.prod(shape) * dtype.itemsize
    return {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [offset, offset + size]}


def header(metadata: Mapping[str, Any], entries: Mapping[str, Any]) -> dict[str, Any]:
    """The header as a dict."""
    blank = {_checksums.ALGORITHM: "0" * _checksums.DIGITS}
    return {"__metadata__": {**blank, KEY: json.dumps(metadata)}, **entries}


def encode(content: Mapping[str, Any]) -> bytes:
    """The first bytes of a file, up to the data."""
    text = _text(content)
    return len(text).to_bytes(8, "little") + _checksums.seal(text, _BEFORE)


def _text(content: Mapping[str, Any]) -> bytes:
    """JSON, and spaces up to where the data begins."""
    text = json.dumps(content, separators=(",", ":")).encode()
    return text.ljust(-(-(8 + len(text)) // ALIGNMENT) * ALIGNMENT - 8)


def parse(path: str, text: bytes | str, has_constants: bool = False) -> dict[str, Any]:
    """JSON of an object, in time that goes by its length.

    Args:
        path: named in errors.
        text: UTF-8.
        has_constants: whether ``NaN`` and ``Infinity`` are numbers.

    Raises:
        StateError: no such JSON; a key that comes twice; more than the limits above.
    """

    def number(kind: type[int] | type[float]) -> Any:
        def read(digits: str) -> int | float:
            if len(digits) > NUMBER:
                raise ValueError(f"expected numbers of at most {NUMBER} characters")
            return kind(digits)

        return read

    def constant(name: str) -> float:
        if not has_constants:
            raise ValueError(f"expected a number, got {name}")
        return float(name)

    try:
        content = json.loads(
            text if isinstance(text, str) else text.decode(),
            object_pairs_hook=_as_dict,
            parse_int=number(int),
            parse_float=number(float),
            parse_constant=constant,
        )
    except (ValueError, RecursionError) as error:
        raise StateError(f"{path}: damaged: {error}") from None
    if type(content) is not dict:
        raise StateError(f"{path}: damaged: expected a JSON object, got {_shown(content)}")
    level: list[Any] = [content]
    for _ in range(DEPTH + 1):
        inner = [value for value in level if isinstance(value, (dict, list))]
        if not inner:
            return content
        level = [member for value in inner for member in _members(value)]
    raise StateError(f"{path}: expected JSON of at most {DEPTH} levels")


def _members(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _as_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, n in Counter(name for name, _ in pairs).items() if n > 1)
        raise ValueError(f"{_shown(twice)} comes twice")
    return found


def _shown(value: Any) -> str:
    return reprlib.repr(value)


def check_name(path: str, name: str, limit: int = NAME) -> None:
    """Whoever prints a name, or opens a file of that name, can rely on it."""
    try:
        fits = len(name.encode()) <= limit
    except UnicodeEncodeError:
        fits = False
    if not fits:
        expected = f"a name of at most {limit} bytes of UTF-8"
        raise StateError(f"{path}: {_shown(name)}: expected {expected}")


def decode(path: str, text: bytes, file_size: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Our metadata (empty in files that others made) and the tensors, from a header.

    Raises:
        StateError: anything that does not fit.
    """
    where = f"{path}: the header"
    content = parse(where, text)
    own = content.pop("__metadata__", {})
    if type(own) is not dict or not all(type(value) is str for value in own.values()):
        raise StateError(f"{where}: __metadata__: expected strings by name, got {_shown(own)}")
    metadata = {}
    if KEY in own or _checksums.ALGORITHM in own:
        if not _checksums.is_sealed(text, _BEFORE):
            raise StateError(f"{where} is damaged: its checksum is wrong")
        metadata = _metadata(path, where, own.get(KEY, ""))
    if len(content) > TENSORS:
        raise StateError(f"{where}: expected at most {TENSORS} tensors, got {len(content)}")
    start = 8 + len(text)
    tensors = {name: _tensor(path, name, found, start) for name, found in content.items()}
    _check_places(path, tensors.values(), start, file_size)
    if metadata:
        sums = metadata["checksums"]
        for name in tensors.keys() ^ sums.keys():
            raise StateError(f"{path}: {_shown(name)}: expected a tensor and its checksums")
        for name in tensors.keys() - named(metadata):
            raise StateError(f"{path}: '{name}': it is neither of variables nor of state")
        parts = {*metadata["parts"]}
        tensors = {n: _as_part(path, t) if n in parts else t for n, t in tensors.items()}
        tensors = {name: _with_checksums(path, t, sums[name]) for name, t in tensors.items()}
    return metadata, tensors


_MEMBERS: dict[str, type | tuple[type, ...]] = {
    "id": str,
    "parent": (str, type(None)),
    "config": (dict, type(None)),
    "extra": object,
    "variables": list,
    "state": list,
    "checksums": dict,
    "rows": dict,
    "parts": list,
}


def _metadata(path: str, where: str, text: str) -> dict[str, Any]:
    """Whoever forges a file can make its checksum, too."""
    metadata = parse(where, text, has_constants=True)
    version = metadata.get("version")
    if type(version) is not int or version < 1:
        raise StateError(f"{where}: version: expected a number from 1 on, got {_shown(version)}")
    if version > PARTS_VERSION:
        raise StateError(
            f"{path}: expected a version of at most {PARTS_VERSION}, got {_shown(version)}: "
            "a newer slotwise wrote it"
        )
    metadata.setdefault("rows", {})
    if version < PARTS_VERSION:
        metadata["parts"] = []
    for member, kind in _MEMBERS.items():
        if member not in metadata or not isinstance(metadata[member], kind):
            found = _shown(metadata.get(member))
            raise StateError(f"{where}: {member}: expected another kind of value, got {found}")
    for member in ("id", "parent"):
        check_id(where, metadata[member])
    names, rows = (*metadata["variables"], *metadata["state"]), metadata["rows"]
    if not all(type(name) is str for name in (*names, *rows.values())):
        raise StateError(f"{where}: variables, state, rows: expected names")
    if len(named(metadata)) < len(names) + len({*rows.values()}):
        raise StateError(f"{where}: variables, state, rows: expected names that differ")
    for name in rows.keys() - set(names):
        raise StateError(f"{where}: rows: {_shown(name)} is neither of variables nor of state")
    parts = metadata["parts"]
    if not all(type(name) is str for name in parts) or not named(metadata).issuperset(parts):
        raise StateError(f"{where}: parts: expected names of variables, state and rows")
    if len({*parts}) < len(parts) or (version == PARTS_VERSION and not parts):
        raise StateError(f"{where}: parts: expected names that differ, at least one")
    return metadata


def named(metadata: Mapping[str, Any]) -> set[str]:
    """The tensors of a checkpoint, in whatever file they are."""
    return {*metadata["variables"], *metadata["state"], *metadata["rows"].values()}


def check_id(where: str, found: Any) -> None:
    if found is not None and not (type(found) is str and re.fullmatch("[0-9a-f]{32}", found)):
        raise StateError(f"{where}: expected an id of 32 hexadecimal digits, got {_shown(found)}")


def _tensor(path: str, name: str, found: Any, start: int) -> Tensor:
    check_name(path, name)
    try:
        kind, shape, (begin, end) = found["dtype"], found["shape"], found["data_offsets"]
        is_whole = type(kind) is str and type(shape) is list
    except (TypeError, ValueError, KeyError):
        is_whole = False
    if not is_whole:
        expected = "dtype, shape and two data_offsets"
        raise StateError(f"{path}: '{name}': expected {expected}, got {_shown(found)}")
    dtype = check_kind(f"{path}: '{name}'", kind, shape, begin, end)
    tensor = Tensor(name, dtype, tuple(shape), start + begin)
    if end - begin != tensor.size:
        raise StateError(f"{path}: '{name}': expected {tensor.size} bytes, got {end - begin}")
    return tensor


def check_kind(what: str, kind: str, shape: list[Any], *places: Any) -> np.dtype[Any]:
    """The dtype, if arrays can be of this kind, and these are places in a file."""
    if len(shape) > RANK:
        raise StateError(f"{what}: expected a rank of at most {RANK}, got {len(shape)}")
    found = _shown({"dtype": kind, "shape": shape, "data_offsets": places})
    if not all(type(n) is int and 0 <= n <= _LARGEST for n in (*shape, *places)):
        raise StateError(f"{what}: expected sizes from 0 to 2^63, got {found}")
    if kind not in DTYPES:
        raise StateError(f"{what}: expected one of {', '.join(DTYPES)}, got {_shown(kind)}")
    dtype = DTYPES[kind]
    if math.prod(n or 1 for n in shape) * dtype.itemsize > _LARGEST:  # NumPy refuses it, empty too
        raise StateError(f"{what}: expected sizes from 0 to 2^63, got {found}")
    return dtype


def _as_part(path: str, tensor: Tensor) -> Tensor:
    """A part of a tensor has whole units (rows, or elements) under each checksum."""
    if not tensor.shape or not tensor.size:
        raise StateError(f"{path}: '{tensor.name}': expected a part of one unit or more")
    unit = tensor.size // tensor.shape[0]
    return replace(tensor, chunk=_checksums.chunk_of_units(unit))


def _with_checksums(path: str, tensor: Tensor, digits: Any) -> Tensor:
    size, length = _checksums.DIGITS, tensor.chunks * _checksums.DIGITS
    if type(digits) is not str or len(digits) != length or not re.fullmatch("[0-9a-f]*", digits):
        raise StateError(f"{path}: '{tensor.name}': expected a checksum of each chunk")
    return replace(tensor, checksums=tuple(digits[i : i + size] for i in range(0, length, size)))


def _check_places(path: str, tensors: Iterable[Tensor], start: int, file_size: int) -> None:
    """Raise if there is a gap, an overlap, or anything past the end."""
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
