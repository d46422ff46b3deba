"""
A website availability monitor.

Nothing is imported here: every worker process imports this package, and must stay light.
"""

__version__ = "0.1.0"
