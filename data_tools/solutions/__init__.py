"""The final answer of a worked solution, without a language model; grading it is in `answers`."""
