"""The studies of a database: each in a row, and several side by side."""
