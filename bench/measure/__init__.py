# SPDX-License-Identifier: Apache-2.0
"""How it is measured: checked, then in turn, beside the limit of the memory."""
