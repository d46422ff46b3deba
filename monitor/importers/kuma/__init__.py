"""Uptime Kuma 1.23 to 2.5: its database as a list of ours."""
