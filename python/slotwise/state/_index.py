# SPDX-License-Identifier: Apache-2.0
"""The index of a folder: which file a tensor is in. Made and read, and never trusted."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slotwise.state import _checksums, _format
from slotwise.state._errors import StateError
from slotwise.state._files import open_regular, unreadable

INDEX = "model.safetensors.index.json"
SUFFIX = ".safetensors"
_BEFORE = b'{"metadata":{"' + _checksums.ALGORITHM.encode() + b'":"'
_NAME = 255  # bytes of a file's name, as file systems have it


@dataclass(frozen=True)
class Index:
    """What is in a folder; ``identity`` and ``total`` are None in those that others made."""

    identity: str | None
    total: int | None
    tensors: dict[str, set[str]]  # by file


def encode(identity: str, total: int, tensors: Mapping[str, list[str]]) -> bytes:
    """The text, from the names of tensors by file."""
    blank = {_checksums.ALGORITHM: "0" * _checksums.DIGITS}
    metadata = {**blank, "total_size": total, "id": identity, "files": [*tensors]}
    weight_map = {name: file for file, names in tensors.items() for name in names}
    text = json.dumps({"metadata": metadata, "weight_map": weight_map}, separators=(",", ":"))
    return _checksums.seal(text.encode(), _BEFORE)


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
    return Index(identity, total, tensors)


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
