"""What makes two runs the same run: weights, optimizer state and history, save for durations."""

import hashlib

import torch

from storage.checkpoints import load_checkpoint
from storage.run_paths import TrialPaths


def weights_sha256(paths: TrialPaths) -> str:
    """Hash the weights of the best epoch."""
    digest = hashlib.sha256()
    for name, tensor in sorted(load_checkpoint(paths.best)["network"].items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def run_sha256(paths: TrialPaths) -> str:
    """Hash weights, optimizer state and metric history of a finished trial's last epoch."""
    (last,) = paths.checkpoints.glob("epoch-*.pt")
    state = load_checkpoint(last)["state"]
    for result in state["history"]:
        del result["seconds"], result["images_per_second"]
    digest = hashlib.sha256()
    for part in ("network", "optimizer", "history"):
        _feed(digest, state[part])
    return digest.hexdigest()


def _feed(digest: "hashlib._Hash", value: object) -> None:
    if isinstance(value, torch.Tensor):
        digest.update(value.numpy().tobytes())
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            digest.update(str(key).encode())
            _feed(digest, value[key])
    elif isinstance(value, list | tuple):
        for item in value:
            _feed(digest, item)
    else:
        digest.update(repr(value).encode())
