# SPDX-License-Identifier: Apache-2.0
"""Comparison of slotwise with its peers: same work, in turn, beside the limit of the memory.

Run ``python -m bench --help``; ``README.md`` in this folder describes the method.
"""
