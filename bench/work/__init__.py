# SPDX-License-Identifier: Apache-2.0
"""What is measured: ops, optimizers and state, and the inputs that every contestant is given."""
