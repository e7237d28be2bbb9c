"""Measurements of this machine: ratios and side by side in one run, never a test."""
