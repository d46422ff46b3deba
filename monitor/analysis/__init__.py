"""Judges observations; pure, and runs in the worker processes."""
