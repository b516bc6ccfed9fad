"""Search spaces: which settings may be searched, by default within which ranges, and what fits."""
