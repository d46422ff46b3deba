"""The migrations of the tables (Alembic); run when the store is opened."""
