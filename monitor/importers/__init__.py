"""Other programs' configurations as text in our form, with a report of what it cannot say."""
