"""Tests of the configuration: settings, files, snapshots."""
