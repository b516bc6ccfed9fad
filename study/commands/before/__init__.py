"""What may come before a search: configuration, checks, data, baselines."""
