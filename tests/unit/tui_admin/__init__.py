"""The core of the console: what needs no pooler."""
