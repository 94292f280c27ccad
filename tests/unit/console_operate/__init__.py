"""Tests of acting on a pooler, without a screen."""
