"""What the console makes of the moments of a pooler."""
