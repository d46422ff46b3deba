"""
What the program does, a module for each command.

A module is loaded when its command is called: ``monitor --version`` and ``monitor healthcheck``
take no time and no memory for what a daemon needs.
"""

OK = 0
DOWN = 1
UNHEALTHY = 1
BAD = 2
"""Bad configuration or arguments, or a daemon that cannot start."""
