"""Widgets of the console's own, and what they show."""
