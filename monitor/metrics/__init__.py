"""The metrics that Prometheus sees."""
