"""Where images come from: sources, splits, the decoded cache, augmentation and batches."""
