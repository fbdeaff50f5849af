# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a file."""

from __future__ import annotations


class StateError(ValueError):
    """A checkpoint that is damaged, incomplete, or not one; the text names the file and tensor.

    Example:
        >>> import slotwise
        >>> slotwise.load("nowhere")
        Traceback (most recent call last):
            ...
        slotwise.StateError: nowhere: there is no checkpoint
    """

    __module__ = "slotwise"  # where users find it, and what errors print
