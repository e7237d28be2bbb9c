"""The steps: each has one external effect, is idempotent by key, and never chooses what comes next."""
