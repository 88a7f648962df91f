"""What a class or function takes, read from its source by `ast`; nothing is imported, values are checked elsewhere."""
