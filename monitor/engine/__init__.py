"""Time and concurrency; runs in the main thread."""
