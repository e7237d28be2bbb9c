"""One client per provider kind, behind one port: invoke, stream, check the service, classify a failure."""
