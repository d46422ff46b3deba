"""Facts about each protocol: its names, and what is shown and kept of an answer."""
