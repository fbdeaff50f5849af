# SPDX-License-Identifier: Apache-2.0
"""Each optimizer as the legacy and the current API have it: what they share, and where they differ.

Hyperparameters of the legacy API are variables of float32. Those of the current API are rounded
that way only where Keras does it; there, averaging takes 1 - beta from the exact number.
"""
