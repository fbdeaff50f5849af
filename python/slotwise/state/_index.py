# SPDX-License-Identifier: Apache-2.0
"""The index of a folder: which file a tensor is in. Made and read, and never trusted."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from slotwise.distributed._placement import BUCKETS
from slotwise.state import _checksums, _format
from slotwise.state._errors import StateError
from slotwise.state._files import open_regular, unreadable

INDEX = "model.safetensors.index.json"
SUFFIX = ".safetensors"
_BEFORE = b'{"metadata":{"' + _checksums.ALGORITHM.encode() + b'":"'
_NAME = 255  # bytes of a file's name, as file systems have it


class Piece(NamedTuple):
    """Units of a tensor in parts that a file has."""

    file: str
    first: int
    units: int


@dataclass(frozen=True)
class Parts:
    """A tensor in parts.

    Its units are rows in the order of their buckets, or else elements in C order.

    Attributes:
        dtype, shape: of the whole.
        buckets: whether units are rows.
        pieces: in order, without gaps.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    buckets: bool
    pieces: tuple[Piece, ...] = ()

    @property
    def units(self) -> int:
        return self.shape[0] if self.buckets else math.prod(self.shape)

    @property
    def unit_shape(self) -> tuple[int, ...]:
        return self.shape[1:] if self.buckets else ()

    @property
    def unit(self) -> int:
        """Bytes of a unit."""
        return math.prod(self.unit_shape) * self.dtype.itemsize

    @property
    def size(self) -> int:
        return self.units * self.unit

    @property
    def chunk(self) -> int:
        return _checksums.chunk_of_units(self.unit)

    @property
    def told(self) -> Any:
        """The kind of it, as JSON can hold it."""
        return [str(self.dtype), [*self.shape], self.buckets]


@dataclass(frozen=True)
class Index:
    """What is in a folder; ``identity`` and ``total`` are None in those that others made."""

    identity: str | None
    total: int | None
    tensors: dict[str, set[str]]  # by file
    parts: dict[str, Parts]


def encode(
    identity: str, total: int, tensors: Mapping[str, list[str]], parts: Mapping[str, Parts]
) -> bytes:
    """The text, from the names of tensors by file, and those in parts."""
    blank = {_checksums.ALGORITHM: "0" * _checksums.DIGITS}
    metadata = {**blank, "total_size": total, "id": identity, "files": [*tensors]}
    whole = ((name, file) for file, names in tensors.items() for name in names)
    content: dict[str, Any] = {
        "metadata": metadata,
        "weight_map": {name: file for name, file in whole if name not in parts},
    }
    if parts:
        content["parts"] = {name: _entry(found) for name, found in parts.items()}
    text = json.dumps(content, separators=(",", ":"))
    return _checksums.seal(text.encode(), _BEFORE)


def _entry(parts: Parts) -> dict[str, Any]:
    kind = _format.entry(parts.dtype, parts.shape, 0)
    del kind["data_offsets"]
    return {**kind, "buckets": BUCKETS if parts.buckets else None, "pieces": [*parts.pieces]}


def decode(path: str, text: bytes) -> Index:
    """The index, from its text.

    Raises:
        StateError: anything that does not fit.
    """
    content = _format.parse(path, text)
    metadata, places = content.get("metadata", {}), content.get("weight_map")
    if type(metadata) is not dict or type(places) is not dict:
        raise StateError(f"{path}: expected the dicts metadata and weight_map")
    identity, total = metadata.get("id"), None
    if identity is not None or _checksums.ALGORITHM in metadata:
        if not _checksums.is_sealed(text, _BEFORE):
            raise StateError(f"{path}: it is damaged: its checksum is wrong")
        _format.check_id(path, identity)
        total = metadata.get("total_size")
        if identity is None or type(total) is not int:
            raise StateError(f"{path}: expected an id and a total_size")
    files = metadata.get("files")
    _check_files(path, [*places.values()])
    if files is None:
        files = sorted(set(places.values()))
    _check_files(path, files)
    tensors: dict[str, set[str]] = {file: set() for file in files}
    if len(tensors) < len(files):
        raise StateError(f"{path}: files: expected names that differ")
    for name, file in places.items():
        _format.check_name(path, name)
        if file not in tensors:
            raise StateError(f"{path}: '{name}': expected one of the index's files, got '{file}'")
        tensors[file].add(name)
    parts = _parts(path, content.get("parts", {}), places) if identity is not None else {}
    for name, found in parts.items():
        for piece in found.pieces:
            if piece.file not in tensors or name in tensors[piece.file]:
                expected = "another of the index's files for each part"
                raise StateError(f"{path}: '{name}': expected {expected}, got '{piece.file}'")
            tensors[piece.file].add(name)
    return Index(identity, total, tensors, parts)


def _parts(path: str, found: Any, whole: Mapping[str, str]) -> dict[str, Parts]:
    """Tensors in parts, each of which is all there, once."""
    if type(found) is not dict:
        raise StateError(f"{path}: parts: expected a dict by name")
    if len(found) + len(whole) > _format.TENSORS:
        raise StateError(f"{path}: expected at most {_format.TENSORS} tensors")
    for name in found:
        _format.check_name(path, name)
        if name in whole:
            raise StateError(f"{path}: '{name}': expected either in one file or in parts")
    return {name: _part(f"{path}: '{name}'", entry) for name, entry in found.items()}


def _part(what: str, entry: Any) -> Parts:
    try:
        kind, shape, buckets, pieces = (entry[k] for k in ("dtype", "shape", "buckets", "pieces"))
        pieces = [Piece(*piece) for piece in pieces]
        is_whole = type(kind) is str and type(shape) is list
    except (TypeError, ValueError, KeyError):
        is_whole = False
    if not is_whole:
        raise StateError(f"{what}: expected dtype, shape, buckets and pieces of three members")
    dtype = _format.check_kind(what, kind, shape)
    if buckets is not None and (type(buckets) is not int or buckets != BUCKETS or not shape):
        raise StateError(f"{what}: buckets: expected {BUCKETS} for tables, or null")
    parts = Parts(dtype, tuple(shape), buckets is not None, tuple(pieces))
    at, block = 0, parts.chunk // max(1, parts.unit)
    for file, first, count in parts.pieces:
        _check_files(what, [file])
        if type(first) is not int or type(count) is not int or first != at or count <= 0:
            raise StateError(f"{what}: pieces: expected one that begins with unit {at}")
        if first % block:
            raise StateError(f"{what}: pieces: expected multiples of {block} units")
        at += count
    if at != (parts.units if parts.size else 0):
        raise StateError(f"{what}: pieces: expected {parts.units} units, got {at}")
    return parts


def read(path: str, folder: int) -> Index:
    """The index of a folder.

    Args:
        path: named in errors.
        folder: the folder's descriptor.
    """
    with open_regular(path, INDEX, folder) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            if size > _format.LIMIT:
                raise StateError(f"{path}: expected at most {_format.LIMIT} bytes, got {size}")
            text = file.read(size)
        except OSError as error:
            raise unreadable(path, error) from error
    return decode(path, text)


def files(folder: Path) -> set[str]:
    """The names of the files of the checkpoint in a folder, as far as the index says."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return {INDEX, *read(INDEX, handle).tensors}
    except StateError:
        return {INDEX}
    finally:
        os.close(handle)


def shard(number: int, count: int) -> str:
    """The name of a file of tensors."""
    return f"model-{number:05}-of-{count:05}{SUFFIX}"


def is_shard(name: str) -> bool:
    return re.fullmatch(r"model-\d{5,}-of-\d{5,}\.safetensors", name) is not None


def _check_files(path: str, names: Any) -> None:
    """Files beside the index, and no others."""
    if type(names) is not list or not all(
        type(n) is str and n.endswith(SUFFIX) and not {"/", "\0"} & {*n} for n in names
    ):
        raise StateError(f"{path}: expected names of {SUFFIX} files beside it")
    for name in names:
        _format.check_name(path, name, _NAME)
