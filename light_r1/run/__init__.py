"""A recipe, run: check, decide, walk, plan, launch. What a stage does is in `stages`; nothing below imports this."""
