"""The monitor's own web server; runs in a thread of its own."""
