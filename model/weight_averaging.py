"""A network that trails the one that learns: the moving average of its weights.

Must not know optimizers, schedules or batches.
"""

import copy
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from model.device import Execution


class AveragedNetwork:
    """An exponential moving average of weights and of batch-norm statistics.

    The decay rises to its value as (1 + n) / (10 + n) over the first updates, so that the random
    weights at the beginning are soon forgotten, in short runs too. Counters are not averaged:
    they stay at zero, and no evaluation reads them.

    Source: Polyak and Juditsky 1992; the rise is that of TensorFlow's
    ``ExponentialMovingAverage``.

    Attributes:
        network: The average, in evaluation only; another network than the one that learns.
        n_updates: Updates so far.
    """

    def __init__(self, learning: nn.Module, *, decay: float, execution: Execution) -> None:
        """Begin with a copy.

        Args:
            learning: The network that learns, already on its device.
            decay: What is kept of the average at each update, in (0, 1).
            execution: Where and how the average runs.
        """
        self.network = copy.deepcopy(learning).requires_grad_(False)
        self.n_updates = 0
        execution.place(self.network)
        self._decay = decay
        self._averages = _averaged_tensors(self.network)
        self._values = _averaged_tensors(learning)

    def update(self) -> None:
        """Take one step towards the network that learns."""
        decay = min(self._decay, (1 + self.n_updates) / (10 + self.n_updates))
        step = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        step(self._averages, self._values, None)
        self.n_updates += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain containers; tensors are the live ones."""
        return {"network": self.network.state_dict(), "n_updates": self.n_updates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over another average, sharing no tensor with it."""
        self.network.load_state_dict(state_dict["network"])
        self.n_updates = state_dict["n_updates"]


def _averaged_tensors(network: nn.Module) -> list[torch.Tensor]:
    """Return weights and statistics, in the order in which the network has them."""
    tensors: list[torch.Tensor] = [*network.parameters(), *network.buffers()]
    return [tensor for tensor in tensors if tensor.is_floating_point()]
