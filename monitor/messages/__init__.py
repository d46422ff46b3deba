"""Who is notified of what: grouping and the outbox, and the receivers, each in its own thread."""
