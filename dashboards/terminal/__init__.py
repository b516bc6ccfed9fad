"""Tables and live views of the terminal."""
