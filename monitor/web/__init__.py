"""Our own HTTP; runs in a thread of its own."""
