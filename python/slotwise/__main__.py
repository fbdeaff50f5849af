# SPDX-License-Identifier: Apache-2.0
"""`python -m slotwise`: the command line."""

import sys

from slotwise._cli import main

if __name__ == "__main__":
    sys.exit(main())
