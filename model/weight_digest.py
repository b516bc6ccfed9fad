"""The hash of a run's weights, which tells whether two runs are the same to the last bit.

Must not know files, nor where a hash is kept.
"""

import hashlib

import torch

from model.training_state import TrainingState


def digest_weights(state: TrainingState) -> str:
    """Return the SHA-256 of the weights after the last epoch, batch-norm statistics included.

    It covers the network that learns and, where there is one, the average that is evaluated. Each
    tensor counts with name, dtype, shape and its bytes in row-major order, sorted by name, so that
    device and memory format do not show.
    """
    tensors = _named("network", state.network)
    if state.averaged is not None:
        tensors |= _named("averaged", state.averaged.network)
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        # numpy has no bfloat16, and a scalar cannot be seen as bytes.
        row_major = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(row_major.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _named(prefix: str, network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in network.state_dict().items()}
