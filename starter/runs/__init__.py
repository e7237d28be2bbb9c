"""Runs that are there: found, listed, watched, driven."""
