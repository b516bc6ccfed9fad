"""What a trained model says of pictures that a user names, and how well it does on them."""
