"""Judged samples on disk and the pass rates that follow from them; sampling itself needs a model and is not here."""
