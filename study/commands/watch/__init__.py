"""What shows studies, and changes none."""
