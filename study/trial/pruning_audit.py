"""Which trials run on though they would be cut, so that the study can say what its cuts cost."""

from model.seeds import derive_seed
from study.configuration.config import StudyConfig

N_SEEDS = 2**32
"""Seeds that can be derived."""


def is_audited(config: StudyConfig, slot: int) -> bool:
    """Return whether the trial of a slot runs on where another one would be pruned or pause.

    It follows from the study's seed and the slot alone: whoever resumes the trial decides alike.

    Args:
        config: Of the study.
        slot: Position of the trial in the queue.
    """
    return derive_seed(config.seed, "audit", slot) < config.search.audit_fraction * N_SEEDS
