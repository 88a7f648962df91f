"""When two problems are the same or one holds the other; which rows go is decided in `tools`."""
