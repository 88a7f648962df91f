"""Sampled completions: backends, collection, judging, pairs, scores; recipes and run folders are not known here."""
