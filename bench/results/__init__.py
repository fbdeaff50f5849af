# SPDX-License-Identifier: Apache-2.0
"""What a run stores, and what follows from it."""
