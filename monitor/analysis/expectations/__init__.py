"""What must hold of an answer: by topic, each rule beside its row; the table has the order."""
