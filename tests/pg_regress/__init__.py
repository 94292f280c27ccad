"""PostgreSQL's own regression suite, directly and through a pooler: the results have to be the same."""
