"""Tests with real servers, real drivers and real processes."""
