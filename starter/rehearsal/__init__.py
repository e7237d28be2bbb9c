"""Rehearsals: procedures in virtual time, with the deployment's own configuration and nothing real at the other end."""
