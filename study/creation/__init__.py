"""Creates studies: new, forked, or of given configurations."""
