"""Thought and answer of a trace: think tags, steps, languages, repetition; grading is not here."""
