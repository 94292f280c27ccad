"""`pooldeck demo`: a throw-away PostgreSQL, the pooler and a load of real clients."""
