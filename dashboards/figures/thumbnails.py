"""Pictures small enough for a page that holds many of them."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MOST_PIXELS = 96


def thumbnail(image_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an RGB image of at most 96 pixels a side; a smaller one as it is."""
    height, width, _ = image_HWC.shape
    if max(height, width) <= MOST_PIXELS:
        return np.asarray(image_HWC)
    image = Image.fromarray(image_HWC)
    image.thumbnail((MOST_PIXELS, MOST_PIXELS), Image.Resampling.LANCZOS)
    return np.asarray(image)
