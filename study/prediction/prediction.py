"""One prediction, as it is written and shown. Must not import torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Prediction:
    """What a model says of one picture.

    Attributes:
        file: The picture, as it was named.
        ranked: Classes and their probabilities in [0, 1], the best first; empty for a picture
            that cannot be read.
        error: Why it cannot be read, else empty.
    """

    file: str
    ranked: tuple[tuple[str, float], ...]
    error: str = ""
