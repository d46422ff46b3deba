"""Many places, one verdict: votes, what travels between places and hub, and the way it travels."""
