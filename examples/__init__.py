# SPDX-License-Identifier: Apache-2.0
"""Programs that show slotwise at work; ``make demo`` runs them."""
