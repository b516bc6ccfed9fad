"""The preset `my-images`: the images and the device choose what other presets fix.

The rule is simple on purpose. Images are never enlarged much: their size is the largest of a few
that the median of their shorter sides reaches. Epochs are so many that a trial sees some 45,000
images, which take a narrow network less than two minutes on a CPU core.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from data.image_sizes import ImageSizes, measure_images
from study.configuration.config import FITTED_PRESET, Request
from study.workers.gpus import VARIABLE, visible_gpus

SIZES_ON_CPU = (32, 64)
SIZES_ON_GPU = (32, 64, 128)
WIDTHS_ON_CPU = (16, 32, 64)
WIDTHS_ON_GPU = (64, 128, 256)
MOST_PIXELS_AT_STRIDE_1 = {False: 32, True: 64}
"""Image size, by whether there is a GPU, up to which the stem keeps the resolution."""
IMAGES_OF_A_TRIAL = 45_000
FEWEST_EPOCHS, MOST_EPOCHS = 5, 60
FINAL_FACTOR = 5
MOST_FINAL_EPOCHS = 150


def fit_to_images(request: Request) -> Request:
    """Return a request whose preset `my-images` is complete, and say what was chosen.

    Raises:
        ConfigurationError: If no data are given, or what is given is rejected.
        DataError: If the data cannot be used.
    """
    # Any values, to learn what the request says of data and device.
    any_sizes = ImageSizes(IMAGES_OF_A_TRIAL, 2, SIZES_ON_CPU[0])
    asked = replace(request, fitted=choose_settings(any_sizes, has_gpu=False)).resolve()
    device = asked.execution.device
    has_gpu = device.startswith("cuda") or (
        device == "auto" and bool(visible_gpus(os.environ.get(VARIABLE)))
    )
    sizes = measure_images(asked.data)
    fitted = replace(request, fitted=choose_settings(sizes, has_gpu=has_gpu))
    found = fitted.resolve()
    print(
        f"{FITTED_PRESET}: {sizes.n_images:,} images of {sizes.n_classes:,} classes, before any "
        f"are held out, the shorter side {sizes.shorter_side:,} pixels in the median, on a "
        f"{'GPU' if has_gpu else 'CPU'}: {found.data.image_size} px, widths "
        f"{'-'.join(map(str, found.network.widths))}, stem stride {found.network.stem.stride}, "
        f"{found.search.n_epochs} epochs a trial, {found.final.n_epochs} of the final run",
        file=sys.stderr,
        flush=True,
    )
    return fitted


def choose_settings(sizes: ImageSizes, *, has_gpu: bool) -> Mapping[str, Any]:
    """Return what the preset leaves open, by dotted key.

    Args:
        sizes: Of the images.
        has_gpu: Whether the study runs on a GPU.
    """
    choices = SIZES_ON_GPU if has_gpu else SIZES_ON_CPU
    image_size = max((size for size in choices if size <= sizes.shorter_side), default=choices[0])
    wanted = -(-IMAGES_OF_A_TRIAL // sizes.n_images)
    n_epochs = min(MOST_EPOCHS, max(FEWEST_EPOCHS, wanted))
    return {
        "data.image_size": image_size,
        "final.image_size": image_size,
        "network.stem.stride": 1 if image_size <= MOST_PIXELS_AT_STRIDE_1[has_gpu] else 2,
        "network.widths": WIDTHS_ON_GPU if has_gpu else WIDTHS_ON_CPU,
        "search.n_epochs": n_epochs,
        "search.pruner_warmup_epochs": n_epochs // 2,
        "final.n_epochs": min(MOST_FINAL_EPOCHS, FINAL_FACTOR * n_epochs),
        "workers.n_workers": "auto" if has_gpu else 2,
    }
