"""What the whole monitor knows of each protocol: its names, what is shown of an answer and kept."""
