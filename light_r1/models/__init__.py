"""Models and chat formats on disk and in memory: load, render, merge, keep checkpoints; no recipe, no training."""
