"""The steps; each names the previous one. A released step is never changed."""
