"""The ways in, for people and machines: commands, the embedded stack, schedules, the demo."""
