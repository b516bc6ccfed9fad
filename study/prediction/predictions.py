"""Pictures in, classes with probabilities out: prepared as for training, in constant memory.

Must not know where pictures or model come from, nor how predictions are written.

Shape letters: B whole pictures of a batch, C classes, H height, W width, K shown classes.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch

from data.decoding_threads import chunk_images
from data.picture_stream import StreamedPicture, batched, stream_pictures
from data.split_writer import Track, no_progress
from model.device import Execution, reproducible_kernels
from model.export import ExportedModel
from study.prediction.prediction import Prediction


@dataclass(frozen=True)
class PredictedBatch:
    """Some pictures in a row, and the logits (B, C), float32, of those that are not broken."""

    pictures: Sequence[StreamedPicture]
    logits_BC: torch.Tensor

    @property
    def n_broken(self) -> int:
        """Number of pictures that cannot be read."""
        return len(self.pictures) - len(self.logits_BC)

    def predictions(self, class_names: Sequence[str], *, n_top: int) -> Iterator[Prediction]:
        """Yield a prediction for every picture, broken ones too.

        Args:
            class_names: In the order of the logits.
            n_top: How many classes each prediction has, the best first.
        """
        top_BK = self.logits_BC.topk(n_top, dim=1).indices
        # In double precision fewer of the sure ones round to 1.
        probabilities_BK = self.logits_BC.double().softmax(dim=1).gather(1, top_BK)
        ranked = zip(top_BK.tolist(), probabilities_BK.tolist(), strict=True)
        for picture in self.pictures:
            if picture.pixels_HWC is None:
                yield Prediction(picture.path, (), picture.error)
                continue
            labels, probabilities = next(ranked)
            names = (class_names[label] for label in labels)
            yield Prediction(picture.path, tuple(zip(names, probabilities, strict=True)))


def predict_batches(
    model: ExportedModel,
    paths: Sequence[str],
    *,
    execution: Execution,
    track: Track = no_progress,
) -> Iterator[PredictedBatch]:
    """Predict on picture files, in their order.

    Args:
        model: On the device of `execution`.
        paths: The files.
        execution: Where and in which precision the model computes.
        track: Shows the progress.
    """
    config = model.config
    pictures = stream_pictures(
        paths,
        image_size=config.image_size,
        resize=config.resize,
        value_range=config.value_range,
    )
    with closing(pictures):
        shown = track(pictures, "predicting", len(paths), 1)
        for batch in batched(shown, chunk_images(config.image_size)):
            yield PredictedBatch(batch, _compute_logits(model, batch, execution))


@torch.inference_mode()
def _compute_logits(
    model: ExportedModel, batch: Sequence[StreamedPicture], execution: Execution
) -> torch.Tensor:
    whole = [one.pixels_HWC for one in batch if one.pixels_HWC is not None]
    if not whole:
        return torch.empty((0, len(model.class_names)), device=execution.device)
    images_BHWC = torch.from_numpy(np.stack(whole)).to(execution.device)
    with execution.autocast(), reproducible_kernels():
        return cast(torch.Tensor, model(images_BHWC)).float()
