"""Trainers: subclasses of TRL's, for use in recipes and in scripts of your own."""
