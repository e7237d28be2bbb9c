"""Commands that measure, ask and judge, and change nothing: what a person runs to know whether it is well."""
