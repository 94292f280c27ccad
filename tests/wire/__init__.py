"""Message scripts: who sends what, and what must come back (README.md)."""
