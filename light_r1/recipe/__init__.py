"""What is written in a recipe and whether it is right; reads text and source only, never torch."""
