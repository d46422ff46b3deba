"""
What the program does: one module per command.

A module is loaded when its command is called, so ``monitor --version`` and ``monitor healthcheck``
spend no time and no memory on what only a daemon needs.
"""

OK = 0
DOWN = 1
UNHEALTHY = 1
BAD = 2
"""Bad configuration or arguments, or a daemon that cannot start."""
