"""A recipe, run: check, decide, walk, plan, launch. Nothing below imports it."""
