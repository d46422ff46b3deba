"""Network I/O, one file per protocol; runs in the I/O threads."""
