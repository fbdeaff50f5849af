"""How it is measured: checked, then in turn, beside the limit of the memory."""
