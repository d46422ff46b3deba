"""How the tables came to be, step by step (Alembic); run when the store is opened."""
