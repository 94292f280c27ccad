"""The screens of the console, one in each module."""
