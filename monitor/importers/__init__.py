"""Other programs' configurations as text in our form, and what became of each field."""
