"""Destinations outside: one adapter for each, behind one port. Each makes one attempt; retries are Temporal's."""
