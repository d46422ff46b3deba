"""Many places, one verdict: votes, the messages between places and hub, and their transport."""
