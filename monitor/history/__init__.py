"""What is remembered: a thread that writes spans, results and rollups; readers in any thread."""
