"""What is counted chunk by chunk is what is counted at once."""

import numpy as np
import pytest

from data.decoding import Original
from data.statistics import (
    MOST_BROKEN_IMAGES,
    BrokenImage,
    SplitTally,
    join_tallies,
    tally_images,
)

N_IMAGES = 90


def tally_of(kept: list[int]) -> SplitTally:
    random = np.random.default_rng(0)
    images_NHWC = random.integers(0, 256, (N_IMAGES, 4, 4, 3), dtype=np.uint8)
    originals = [Original("RGB" if n % 3 else "L", 4 + n % 2, 4, n) for n in range(N_IMAGES)]
    return tally_images(
        images_NHWC[kept],
        np.arange(N_IMAGES)[kept] % 7,
        rows_N=10 * np.arange(N_IMAGES)[kept],
        names=[f"{n}.png" for n in kept],
        originals=[originals[n] for n in kept],
        dropped=[BrokenImage(source_split="train", name=str(n), reason="none") for n in kept],
    )


@pytest.mark.parametrize("n_chunks", [1, 7, N_IMAGES])
def test_tallies_of_chunks_join_to_the_tally_of_all_images(n_chunks: int) -> None:
    chunks = np.array_split(np.arange(N_IMAGES), n_chunks)
    joined = join_tallies(tally_of(chunk.tolist()) for chunk in [*chunks, np.arange(0)])
    whole = tally_of(list(range(N_IMAGES)))
    for name in ("labels_N", "rows_N", "digests_N", "sums_C", "square_sums_C"):
        assert np.array_equal(getattr(joined, name), getattr(whole, name))
    assert (joined.modes, joined.sizes) == (whole.modes, whole.sizes)
    assert (joined.n_pixels, joined.n_dropped) == (whole.n_pixels, N_IMAGES)
    assert joined.names == whole.names
    assert joined.dropped == whole.dropped[:MOST_BROKEN_IMAGES]
    assert (joined.mean(), joined.std()) == (whole.mean(), whole.std())


def test_no_tallies_join_to_an_empty_one() -> None:
    joined = join_tallies([])
    assert (len(joined.labels_N), joined.n_dropped, joined.modes) == (0, 0, {})
