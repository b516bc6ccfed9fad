"""One trial: its network, training, records and identity."""
