"""Rows, their files and columns; what rows mean is not known here."""
