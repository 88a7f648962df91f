"""A set of rows as numbers and as a page of charts; the command is `tools/stats`."""
