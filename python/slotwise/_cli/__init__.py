# SPDX-License-Identifier: Apache-2.0
"""The command line: `slotwise`, or `python -m slotwise`. See docs/command_line.md.

It is built on argparse. Rich and click print more prettily, but each would be a dependency of
everyone who installs a library of kernels, for eight commands.
"""

from slotwise._cli._main import main

__all__ = ["main"]
