# SPDX-License-Identifier: Apache-2.0
"""Checksums of chunks of tensors, and of text that carries its own."""

from __future__ import annotations

from typing import Any

import xxhash

ALGORITHM = "xxh3_64"
CHUNK = 8 << 20  # bytes of a tensor under one checksum; also the unit of reads and writes
DIGITS = 16
_BLANK = b"0" * DIGITS


def checksum(data: Any) -> str:
    """The checksum of a buffer, in hexadecimal digits."""
    return xxhash.xxh3_64_hexdigest(data)


class Running:
    """The checksum of data that comes in pieces."""

    def __init__(self) -> None:
        self._state = xxhash.xxh3_64()
        self.add = self._state.update

    @property
    def value(self) -> str:
        return self._state.hexdigest()


def chunks(size: int, chunk: int = CHUNK) -> int:
    """How many checksums a tensor of so many bytes has."""
    return -(-size // chunk)


def chunk_of_units(unit: int) -> int:
    """Bytes of a tensor in parts under one checksum: as many whole units as fit, at least one."""
    return max(1, CHUNK // max(1, unit)) * max(1, unit)


def seal(text: bytes, before: bytes) -> bytes:
    """The text with the checksum of the whole in the blank that follows ``before``.

    The checksum is that of the text with zeros in its place.
    """
    assert text.startswith(before + _BLANK)
    return before + checksum(text).encode() + text[len(before) + DIGITS :]


def is_sealed(text: bytes, before: bytes) -> bool:
    """Whether the text begins so, and its checksum is right."""
    if not text.startswith(before):
        return False
    blank = before + _BLANK + text[len(before) + DIGITS :]
    return checksum(blank).encode() == text[len(before) : len(before) + DIGITS]
