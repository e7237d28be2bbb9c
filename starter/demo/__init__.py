"""The demo: one real incident on an embedded stack, from steady traffic to the report."""
