"""Tests of the relay without sockets: a model of PostgreSQL, and a pooler that a test moves byte by byte."""
