"""Where a study's results come from: code, data, machines, seeds, and how to repeat it.

Must not import torch.
"""

import json
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dashboards.analysis.citation import bibtex_entry
from dashboards.formatting import shown_range
from storage.optuna_rows import EXECUTION
from storage.records import Protocol
from storage.trial_rows import TrialRow

NOT_RECORDED = "not recorded"


@dataclass(frozen=True)
class Provenance:
    """Where the results come from.

    Attributes:
        hashes: Names and values that identify protocol, data, study and code.
        facts: Other names and values: seeds, machines, versions.
        settings: All settings as name and value, by section; the database's are left out, for
            they may hold a password.
        configuration: The same as a file for `--config`.
        commands: What to run with it.
        citation: How to cite the program, as BibTeX.
    """

    hashes: Sequence[tuple[str, str]]
    facts: Sequence[tuple[str, str]]
    settings: dict[str, list[tuple[str, str]]]
    configuration: str
    commands: str
    citation: str


def read_provenance(
    protocol: Protocol, rows: Sequence[TrialRow], *, is_confirmed: bool = False
) -> Provenance:
    """Return where the results of a study come from.

    Args:
        protocol: Its stored configuration.
        rows: Its trials.
        is_confirmed: Whether it has a confirmation, which belongs to what repeats it.
    """
    facts = protocol.facts
    seeds = [f"study {protocol.configuration.get('seed', NOT_RECORDED)}"]
    if "split_seed" in protocol.configuration["data"]:
        seeds.append(f"splits {protocol.configuration['data']['split_seed']}")
    is_given = protocol.configuration["search"].get("space") == "given"
    of_trials = "given points share it" if is_given else "each trial's follows from its slot"
    return Provenance(
        hashes=[
            ("protocol", protocol.fingerprint),
            ("data", facts["data_fingerprint"]),
            ("study key", protocol.study_key),
            ("source, at init", protocol.source_digest or NOT_RECORDED),
            ("source, workers", _list(_recorded(rows, "source_digest"))),
            ("git, at init", _revision(facts["git_revision"])),
            ("git, workers", _list(map(_revision, _recorded(rows, "git_revision")))),
        ],
        facts=[
            ("seeds", f"{', '.join(seeds)}; {of_trials}"),
            ("devices", _list(_recorded(rows, "device"))),
            ("processors and GPUs", _executions(rows, "device_model")),
            ("precision", _executions(rows, "precision")),
            ("CPU threads", _executions(rows, "threads")),
            ("hosts", _list({row.host for row in rows if row.host})),
            ("versions, at init", _versions(facts["versions"])),
            ("versions, workers", _worker_versions(facts["versions"], rows)),
        ],
        settings=_settings(protocol),
        configuration=_configuration_text(protocol),
        commands=_commands(protocol, is_confirmed=is_confirmed),
        citation=bibtex_entry(protocol.git_revision, protocol.source_digest),
    )


def _revision(revision: str | None) -> str:
    """Return a commit in words; a plus sign marks uncommitted changes."""
    if revision is None:
        return NOT_RECORDED
    return revision.removesuffix("+") + " with changes" * revision.endswith("+")


def _recorded(rows: Sequence[TrialRow], name: str) -> set[str]:
    return {str(row.attributes[name]) for row in rows if row.attributes.get(name)}


def _executions(rows: Sequence[TrialRow], name: str) -> str:
    recorded = (row.attributes[EXECUTION] for row in rows if EXECUTION in row.attributes)
    return _list({str(one[name]) for one in recorded})


def _list(texts: Iterable[str]) -> str:
    return ", ".join(sorted(texts)) or NOT_RECORDED


def _versions(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _worker_versions(at_init: dict[str, str], rows: Sequence[TrialRow]) -> str:
    """Return the versions of workers that differ from those at init."""
    found = [row.attributes["versions"] for row in rows if row.attributes.get("versions")]
    if not found:
        return NOT_RECORDED
    other = {
        f"{name} {version}"
        for versions in found
        for name, version in versions.items()
        if at_init.get(name) != version
    }
    return f"other: {_list(other)}" if other else "the same"


def _settings(protocol: Protocol) -> dict[str, list[tuple[str, str]]]:
    sections: dict[str, list[tuple[str, str]]] = {"general": []}
    for name, content in protocol.configuration.items():
        if name == "storage":
            continue
        if isinstance(content, dict):
            sections[name] = _flatten(content)
        else:
            sections["general"].append((name, str(content)))
    return sections


def _flatten(content: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in content.items():
        if name == "space" and isinstance(value, dict):
            ranges = {f"{name}.{key}": shown_range(given) for key, given in value.items()}
            pairs += ranges.items() or [(name, "nothing varies")]
        elif isinstance(value, dict) and value:
            pairs += _flatten(value, f"{prefix}{name}.")
        elif name == "points" and value:
            pairs.append((f"{prefix}{name}", f"{len(value)}, listed under Repeat it"))
        else:
            pairs.append((f"{prefix}{name}", "none" if value is None else str(value)))
    return pairs


def _configuration_text(protocol: Protocol) -> str:
    """Return the configuration as a file for `--config`; JSON is YAML."""
    shared = {name: part for name, part in protocol.configuration.items() if name != "storage"}
    return json.dumps(shared, indent=1, ensure_ascii=False)


def _commands(protocol: Protocol, *, is_confirmed: bool) -> str:
    name = shlex.quote(protocol.study_name)
    revision = (protocol.facts["git_revision"] or "").removesuffix("+")
    return "\n".join(
        (
            *([f"git checkout {shlex.quote(revision)}"] if revision else ()),
            "study run --config study.yaml",
            *([f"study confirm --name {name}"] if is_confirmed else ()),
            f"study final --name {name}",
            f"study report --name {name} --figures figures --tables tables",
        )
    )
