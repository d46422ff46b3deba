"""Sites that other systems list: one thread for each source."""
