"""One adapter per data plane, behind one port: read, apply, observe, ask."""
