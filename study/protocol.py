"""What a study fixes before its first trial, and how a difference is refused.

Frozen is all that changes the result of a trial or of the search. Where things lie and how many
workers run is operational; budget and final run have commands of their own.
"""

from typing import Any

from storage.records import Protocol, fingerprint
from study.config import StudyConfig
from study.errors import ProtocolError

OPERATIONAL: dict[str, Any] = {
    "name": True,
    "description": True,
    "storage": True,
    "final": True,
    "workers": {"n_workers", "per_gpu"},
    "execution": {"device"},
    "data": {"source", "cache"},
    "search": {"n_trials"},
}


def frozen_part(config: StudyConfig) -> dict[str, Any]:
    """Return the settings that a study fixes, as JSON values."""
    return config.model_dump(mode="json", exclude=OPERATIONAL)


def protocol_fingerprint(config: StudyConfig, data_fingerprint: str) -> str:
    """Return the SHA-256 of what a study fixes."""
    return fingerprint([frozen_part(config), data_fingerprint])


def refuse_differences(fixed: StudyConfig, given: StudyConfig) -> None:
    """Refuse to go on with a study that was fixed differently.

    Args:
        fixed: Configuration stored with the study.
        given: Configuration to go on with; unset threads stand for those of the study.

    Raises:
        ProtocolError: If they differ; the message names each field with both values.
    """
    old, new = _flat(frozen_part(fixed)), _flat(frozen_part(given))
    if given.workers.threads is None:
        new["workers.threads"] = old["workers.threads"]
    differences = [
        f"{key} is {old.get(key)!r} there, {new.get(key)!r} here"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
    if differences:
        raise ProtocolError(
            f"study {fixed.name!r} was fixed with other settings: {'; '.join(differences)}: "
            "give the same settings, or another --name for a new study"
        )


def refuse_other_data(protocol: Protocol, fingerprint: str) -> None:
    """Refuse data that are not those the study began with.

    Raises:
        ProtocolError: If the fingerprints differ.
    """
    fixed = protocol.facts["data_fingerprint"]
    if fixed != fingerprint:
        raise ProtocolError(
            f"--data must be the data of study {protocol.study_name!r} ({fixed[:12]}), "
            f"those found have {fingerprint[:12]}: give the same data, or another --name"
        )


def refuse_other_budget(name: str, *, fixed: int, given: int) -> None:
    """Refuse a budget that is not the study's.

    Raises:
        ProtocolError: If it differs; the message holds the command that changes it.
    """
    if given > fixed:
        raise ProtocolError(
            f"--trials must be {fixed}, the budget of study {name!r}, got {given}: "
            f"add to it with `study extend --name {name} --trials {given - fixed}`"
        )
    if given < fixed:
        raise ProtocolError(
            f"--trials must be {fixed}, the budget of study {name!r}, got {given}: a budget only "
            f"grows, with `study extend --name {name} --trials N`; leave --trials out"
        )


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
