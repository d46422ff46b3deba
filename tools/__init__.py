"""What the maintainers run: each module is a command, ``python -m tools.NAME``."""
