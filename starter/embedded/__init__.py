"""The embedded stack: Temporal, simulator, gateway and worker on this machine, and what they are brought up with."""
