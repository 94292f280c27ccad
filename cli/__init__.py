"""The command line: `pooldeck` and its sub-commands."""
