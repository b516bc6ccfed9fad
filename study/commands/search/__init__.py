"""Creating, running and changing studies."""
