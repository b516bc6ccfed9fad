"""TensorBoard runs and their hparams."""
