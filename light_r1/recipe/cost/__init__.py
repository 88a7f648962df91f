"""Estimates of steps, tokens, time, memory and disk; the formulas of a stage type are in its file in `stages`."""
