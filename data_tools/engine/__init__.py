"""How a tool runs: its options read from its signature, folds, worker processes; what a tool does is in `tools`."""
