"""`python -m tests.bench`: pooldeck beside PostgreSQL itself and a real PgBouncer, in one run."""
