"""Reads blackbox_exporter's module files as it reads them, and translates them into our nodes."""
