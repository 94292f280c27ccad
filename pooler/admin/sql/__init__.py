"""SELECT over the SHOW tables: sqlglot translates, sqlite3 answers, both in a worker thread."""
