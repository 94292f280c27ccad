"""Sub-commands for scripts: they ask a pooler, print what it says, and the exit code tells how it went."""
