"""Reports: computed from evidence records alone, so that each can be made again at any time."""
