"""The commands of failoverctl: their names, options and help. What they do is imported when they run."""
