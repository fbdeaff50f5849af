"""What a run shows: targets, tables, sentences, charts, the report."""
