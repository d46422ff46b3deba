"""The dialect of blackbox_exporter's module files: read as it reads them, and said in our nodes."""
