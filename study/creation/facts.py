"""What a protocol notes of a study beside its configuration."""

from typing import Any

from data.cautions import cautions
from data.image_cache import CONTENT_FORMAT, PreparedData
from model.baselines import guesses
from storage.budget import Budget
from study.configuration.config import StudyConfig
from study.session.versions import git_revision, source_digest, versions


def budget_facts(limit: Budget) -> dict[str, Any]:
    """Return the fact of a budget that is not counted in trials."""
    return {} if limit.unit == "trials" else {"budget": limit.as_json()}


def facts_of(prepared: PreparedData, config: StudyConfig) -> dict[str, Any]:
    """Return what a protocol notes of the data, the runs folder and the code."""
    described = prepared.description
    train, validation = described.class_counts["train"], described.class_counts["validation"]
    return {
        "data_fingerprint": prepared.fingerprint,
        "class_names": list(prepared.class_names),
        "data_format": CONTENT_FORMAT,
        "n_examples": dict(described.counts),
        "origins": dict(described.origins),
        "left_out": [one.model_dump(mode="json") for one in described.not_used],
        "cautions": cautions(described),
        "n_dropped": dict(described.dropped_counts),
        "n_validation_classes": sum(count > 0 for count in validation),
        "baselines": {
            name: vars(guess) for name, guess in guesses(validation, train_counts=train).items()
        },
        "runs_folder": str(config.storage.runs.absolute()),
        "versions": versions(),
        "git_revision": git_revision(),
        "source_digest": source_digest(),
    }
