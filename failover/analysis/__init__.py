"""Why an incident happened, by what was recorded: ranked claims, each with what speaks for and against it. Pure."""
