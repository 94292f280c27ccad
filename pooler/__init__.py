"""A PgBouncer-compatible PostgreSQL connection pooler."""
