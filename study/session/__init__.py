"""An opened study and its stored configuration."""
