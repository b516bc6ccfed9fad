"""One seed per purpose, derived from the seed of the run.

Imports only the standard library, so that seeds can be derived without starting torch.
"""

import hashlib
import json


def derive_seed(*parts: int | str) -> int:
    """Derive a seed that depends on every part and on their order.

    Args:
        *parts: What the seed is for, such as ``(42, "epoch", 3)``.

    Returns:
        An integer in [0, 2**32), which torch, numpy and Optuna all accept; the same on every
        machine and Python version.
    """
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:4], "big")
