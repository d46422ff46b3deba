"""Pure judgement of what was seen; runs in the worker processes."""
