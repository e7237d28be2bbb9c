"""The procedures, as deterministic workflows: one a file; each `run` reads like the runbook's table of contents."""
