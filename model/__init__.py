"""The room that learns: network, training loop, evaluation, device and precision.

It knows batches of tensors and nothing else: no optuna, no database, no files but those of a model
folder, and neither the ``data`` nor the ``storage`` room.
"""
