# SPDX-License-Identifier: Apache-2.0
"""Which arrays share memory with others."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate

from slotwise._identity import Memory


def span_of(memory: Memory) -> tuple[int, int]:
    """The first byte of an array and the one behind the last."""
    begin, shape, strides, dtype = memory
    if strides is None or 0 in shape:
        return begin, begin + math.prod(shape) * dtype.itemsize
    far = [(size - 1) * stride for size, stride in zip(shape, strides, strict=True)]
    last = begin + sum(x for x in far if x > 0)
    return begin + sum(x for x in far if x < 0), last + dtype.itemsize


class Spans:
    """The memory of arrays, each from its first to its last byte."""

    def __init__(self, memories: Iterable[Memory]) -> None:
        spans = sorted((*span_of(memory), place) for place, memory in enumerate(memories))
        self._begins = [begin for begin, _, _ in spans]
        self._ends = [end for _, end, _ in spans]
        self._places = [place for _, _, place in spans]
        self._latest_ends = [*accumulate(self._ends, max)]  # of each and those before it

    def sharing(self, memory: Memory) -> Iterator[int]:
        """The places of those that share bytes with one, or may: gaps count as theirs."""
        begin, end = span_of(memory)
        i = bisect_left(self._begins, end) - 1
        while begin < end and i >= 0 and self._latest_ends[i] > begin:
            if self._ends[i] > begin and self._begins[i] < self._ends[i]:
                yield self._places[i]
            i -= 1

    def cover(self, memory: Memory) -> bool:
        """Whether one of them has all its bytes."""
        begin, end = span_of(memory)
        before = bisect_right(self._begins, begin)
        return begin == end or (before > 0 and self._latest_ends[before - 1] >= end)
