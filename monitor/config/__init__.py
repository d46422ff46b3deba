"""Files become frozen, validated records; nothing else reads YAML or knows pydantic."""
