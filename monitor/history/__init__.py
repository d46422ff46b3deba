"""What is remembered: a thread writes spans, results and rollups; any thread may read."""
