"""The destinations of messages: one adapter each, behind one port."""
