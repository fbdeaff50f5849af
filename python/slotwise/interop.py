"""State from and to other libraries."""
