"""Where messages go: one adapter per destination, behind one port."""
