"""pgbouncer.ini and userlist.txt: the table of settings, the language of the files, a snapshot of both."""
