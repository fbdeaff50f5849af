"""What a run stores, and what follows from it."""
