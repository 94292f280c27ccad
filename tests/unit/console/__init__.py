"""The console, driven by keys, on a pooler that is nothing but its answers."""
