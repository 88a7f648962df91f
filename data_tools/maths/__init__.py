"""LaTeX to expressions and their values: parse, compare, bound; what counts as an answer is decided in `answers`."""
