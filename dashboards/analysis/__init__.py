"""What the trials say: numbers behind every view."""
