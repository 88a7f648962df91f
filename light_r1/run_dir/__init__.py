"""The folder of a run: what lies in it, what identifies it, who holds it; what a stage does is not known here."""
