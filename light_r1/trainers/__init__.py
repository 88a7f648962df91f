"""Trainers: subclasses of TRL's, for recipes and scripts; recipes, run folders and stages are not known here."""
