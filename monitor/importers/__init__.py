"""Turns other programs' configurations into our YAML, and reports what became of each field."""
