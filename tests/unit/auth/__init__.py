"""Tests of the login conversations."""
