"""Pictures of the programs as they are, for README.md."""
