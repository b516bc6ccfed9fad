"""What a user configures: settings, search space, grids."""
