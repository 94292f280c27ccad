"""Malformed, misplaced and missing input from clients and servers: it costs its sender alone."""
