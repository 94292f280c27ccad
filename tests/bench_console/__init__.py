"""What the console needs, and what it costs the pooler (`make bench-console`)."""
