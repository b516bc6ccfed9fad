"""What is remembered: the database, checkpoints, run folders. Imports no other room."""
