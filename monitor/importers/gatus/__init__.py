"""Gatus 5.36: its files as a list of ours."""
