"""What people look at. Reads what `storage` remembers; never decides anything."""
