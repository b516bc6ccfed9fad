"""What may make the figures of a trial differ, as it was recorded and as it is here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial

from data.image_cache import CONTENT_FORMAT
from model.device import Execution, describe_execution
from storage.optuna_rows import EXECUTION
from study.session.protocol import Difference, differences
from study.session.session import StudySession
from study.session.versions import comparable_code, git_revision, source_digest, versions

Provenance = dict[str, Any]


@dataclass(frozen=True)
class ProvenanceComparison:
    """How far a trial was trained as it would be here.

    Attributes:
        different: What is known to differ.
        unknown: What cannot be compared, in words.
    """

    different: Sequence[Difference]
    unknown: Sequence[str]


def recorded_provenance(session: StudySession, trial: FrozenTrial) -> Provenance:
    """Return what is recorded of a trial's last attempt; None where it is not.

    The threads of a trial of an early version are those of its study.
    """
    recorded, protocol = trial.user_attrs, session.protocol
    unknown = dict.fromkeys(("device_model", "cpu_instructions", "precision"))
    execution = unknown | {"threads": protocol.threads} | recorded.get(EXECUTION, {})
    return {
        "git_revision": recorded.get("git_revision"),
        "source_digest": recorded.get("source_digest"),
        "data_fingerprint": protocol.data_fingerprint,
        "data_format": protocol.data_format,
        "seed": recorded.get("seed"),
        "device": _kind(recorded.get("device")),
        **execution,
        **dict.fromkeys(versions()),
        **recorded.get("versions", {}),
    }


def provenance_here(data_fingerprint: str, seed: int, execution: Execution) -> Provenance:
    """Return the same of this process, whose threads are set.

    Args:
        data_fingerprint: Of the data that were found.
        seed: That the trial has by this code.
        execution: Where and how the network runs.
    """
    return {
        "git_revision": git_revision(),
        "source_digest": source_digest(),
        "data_fingerprint": data_fingerprint,
        "data_format": CONTENT_FORMAT,
        "seed": seed,
        "device": execution.device.type,
        **describe_execution(execution),
        **versions(),
    }


def compare_provenance(there: Provenance, here: Provenance) -> ProvenanceComparison:
    """Return what differs, and what nobody knows."""
    there, here = comparable_code(there, here)
    keys = sorted(there.keys() | here.keys())
    known = [key for key in keys if None not in (there.get(key), here.get(key))]
    unknown = [key for key in keys if key not in known]
    revision = here.get("git_revision")
    is_same = revision == there.get("git_revision") and "source_digest" not in known
    if is_same and _is_changed(revision):
        unknown.append("changes of the code that were not committed")
    found = differences({key: there[key] for key in known}, {key: here[key] for key in known})
    return ProvenanceComparison(found, unknown)


def _is_changed(revision: str | None) -> bool:
    return revision is not None and revision.endswith("+")


def _kind(device: str | None) -> str | None:
    """Return a device without its number, which is another one on every machine."""
    return None if device is None else device.partition(":")[0]
