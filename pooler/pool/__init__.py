"""Pools, the lists that connections wait and rest in, limits, maintenance and statistics."""
