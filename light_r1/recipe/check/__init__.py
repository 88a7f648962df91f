"""Faults of a recipe that only its parts together show; what one stage type needs is checked in `stages`."""
