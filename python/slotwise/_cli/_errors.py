# SPDX-License-Identifier: Apache-2.0
"""How commands end."""

from __future__ import annotations

DONE = 0
FAILED = 1  # damage, a full disk; of diff: there are differences
REFUSED = 2  # wrong usage, a path that leads nowhere; of diff: any trouble
INTERRUPTED = 130  # as shells have it: 128 and the number of the signal
PIPE_CLOSED = 141

TEXT = f"""\
exit codes:
  {DONE}    done; diff: no difference
  {FAILED}    damaged data, or an error while reading or writing; diff: there are differences
  {REFUSED}    wrong usage, or a path that leads nowhere; diff: any trouble
  {INTERRUPTED}  interrupted (Ctrl-C)
  {PIPE_CLOSED}  the reader of the output went away
"""


class Refused(Exception):
    """What was asked for cannot be done; the text says why, in a line."""


class Failed(Exception):
    """What was tried went wrong, such as a damaged file of another library; the text is a line."""
