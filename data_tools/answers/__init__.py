"""From a text to the answer it states, and whether two answers agree; solutions in prose are read in `solutions`."""
