"""The console: a Textual application that shows and operates a pooler."""
