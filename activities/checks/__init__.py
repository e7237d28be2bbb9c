"""Looks at what a failover will need, each with what to do where it is missing: shared by `doctor` and the readiness audit."""
