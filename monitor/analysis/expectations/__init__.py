"""The expectations for an answer, by topic, each rule beside its row; the table orders them."""
