"""Fresh seeds on fresh images: whether the winner of a search is better than the default."""
