"""What Temporal keeps, encrypted: the codec of every process of ours, and the server by which the Web UI reads it."""
