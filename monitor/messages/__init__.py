"""Who is told what: grouping and the outbox, and the receivers, each in a thread of its own."""
