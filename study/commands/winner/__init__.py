"""The final run, and what is done with its model."""
