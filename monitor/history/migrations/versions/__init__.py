"""The steps; each knows the one before it. One that was released is never changed."""
