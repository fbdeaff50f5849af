"""Programs that show slotwise at work; ``make demo`` runs them."""
