"""What keeps docs/ true: the parts that are generated."""
