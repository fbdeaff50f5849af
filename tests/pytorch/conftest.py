# SPDX-License-Identifier: Apache-2.0
"""These tests run where PyTorch is installed."""

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("torch") else ["test_*.py"]
