"""What protocols allow to be written, wherever a value is held against it."""

TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105  no password
"""A token of HTTP, such as a method or a header's name (RFC 9110, section 5.6.2), as a pattern."""

LARGEST_PORT = 65535
"""Of TCP and UDP; 0 is no port that can be connected to."""
