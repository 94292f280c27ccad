"""The pooler and a real PgBouncer on the same input."""
