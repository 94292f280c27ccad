"""The admin database `pgbouncer`: a table of SHOW results, a table of commands, the session of a client."""
