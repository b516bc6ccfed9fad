"""Class folders, and pictures that a file of labels names."""
