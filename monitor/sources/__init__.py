"""Sites that others list: a thread for each source, and none without any."""
