# SPDX-License-Identifier: Apache-2.0
"""Whether figures can be believed, by what others took of the cores while they were made.

A round is quiet if others took at most ``busy`` of the time of the cores. A case is disturbed if
fewer than half of its rounds were quiet. A run must not be believed if more than a tenth of its
cases are disturbed; a target is not judged by a case that is.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

QUIET_ROUNDS = 0.5  # of a case, at the least
DISTURBED_CASES = 0.1  # of a run, at the most


def is_disturbed(shares: Sequence[float], busy: float) -> bool:
    """Whether too few of a case's rounds were quiet. ``shares``: what others took, by round."""
    quiet = sum(share <= busy for share in shares)
    return quiet < QUIET_ROUNDS * len(shares)


def doubt(cases: Sequence[Sequence[float]], busy: float) -> str:
    """Why a run must not be believed; empty if it may be. Cases of unknown load do not count."""
    known = [shares for shares in cases if shares]
    disturbed = sum(is_disturbed(shares, busy) for shares in known)
    if disturbed <= DISTURBED_CASES * len(known):
        return ""
    taken = median(share for shares in known for share in shares)
    return (
        f"These figures must not be believed: other processes took {100 * taken:.0f} % of the "
        f"cores (median over the rounds; {100 * busy:.0f} % is the limit), and in {disturbed} of "
        f"{len(known)} cases fewer than half of the rounds stayed under it."
    )
