"""What a study fixes before its first trial, and how a difference is rejected.

Frozen is all that changes the result of a trial or of the search. Where things lie and how many
workers run is operational; budget and final run have commands of their own. Every message names
the field, both values, and the command that continues.
"""

import logging
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.image_cache import CONTENT_FORMAT
from data.sources.opening import HUB_ID, SYNTHETIC
from storage.budget import Budget
from storage.errors import StorageError, StudyNotFoundError
from storage.records import Protocol, fingerprint
from storage.run_paths import RunPaths
from storage.study_names import FINAL_SUFFIX, searched_name
from study.configuration.config import Request, StudyConfig, validated
from study.configuration.dotted_keys import value_at
from study.configuration.stored_settings import completed, frozen_part, missing_settings
from study.errors import ProtocolError
from study.session.suggested_commands import fork_command, suggest_command
from study.session.versions import comparable_code, git_revision, source_digest, versions

logger = logging.getLogger(__name__)

# A final run is a study with these of its settings in the place of the searched ones.
SETTING_OF_FINAL_RUN = {
    "search.n_epochs": "final.n_epochs",
    "data.image_size": "final.image_size",
    "workers.threads": "final.threads",
}
STRICT = "protocol.strict"
POINTS = "search.points"
RUN_AS_HERE = ("workers.n_workers",)
"""Of what images and device choose, what may differ between machines."""
LONGEST_VALUE = 100


@dataclass(frozen=True)
class Difference:
    """A setting with two values; None where one side has none."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        one = self._first_within()
        return f"{one.key} is {_shown(one.old)} there, {_shown(one.new)} here"

    def _first_within(self) -> "Difference":
        """Return what first differs in two lists that are too long to be shown, else itself."""
        old, new = self.old, self.new
        if not (isinstance(old, list) and isinstance(new, list)):
            return self
        if max(len(repr(old)), len(repr(new))) <= LONGEST_VALUE:
            return self
        if len(old) != len(new):
            return Difference(f"number of {self.key}", len(old), len(new))
        place = next(n for n in range(len(old)) if old[n] != new[n])
        key = f"{self.key}[{place}]"
        return differences({key: old[place]}, {key: new[place]})[0]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """Return in which values two mappings differ, by dotted key."""
    found: list[Difference] = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            within = differences(before, after)
            found += [Difference(f"{key}.{one.key}", one.old, one.new) for one in within]
        elif before != after:
            found.append(Difference(key, before, after))
    return found


def protocol_fingerprint(config: StudyConfig, data_fingerprint: str) -> str:
    """Return the SHA-256 of what a study fixes."""
    return fingerprint([frozen_part(config), data_fingerprint])


def completed_by(given: StudyConfig, protocol: Protocol, request: Request) -> StudyConfig:
    """Return a configuration with what a study keeps unless a request says otherwise.

    These are the threads that `init` has counted, the strictness, the names of parameters, and
    what its images have chosen: a file that does not name them does not change them.
    """
    fixed = validated(completed(protocol.configuration))
    threads = given.workers.threads or fixed.workers.threads
    strict = given if request.gives(STRICT) else fixed
    fitted = {
        key: value_at(fixed, key)
        for key, value in request.fitted.items()
        if key not in RUN_AS_HERE and not request.gives(key) and value_at(given, key) == value
    }
    kept = {"protocol": strict.protocol, "search.param_names": fixed.search.param_names}
    return given.replacing({"workers.threads": threads} | kept | fitted)


def reject_differences(protocol: Protocol, given: StudyConfig) -> None:
    """Reject a configuration that differs from the stored one.

    Args:
        protocol: The stored protocol.
        given: Configuration to resume with; unset threads stand for those of the study.

    Raises:
        ProtocolError: If they differ; the message names each field with both values.
    """
    fixed = validated(completed(protocol.configuration))
    old, new = frozen_part(fixed), frozen_part(given)
    if given.workers.threads is None:
        new["workers"] = old["workers"]
    found = differences(old, new)
    if protocol.study_name.endswith(FINAL_SUFFIX):
        names = SETTING_OF_FINAL_RUN
        found = [Difference(names.get(one.key, one.key), one.old, one.new) for one in found]
    if found:
        name = _searched_name(protocol)
        changes = {one.key: one.new for one in found}
        command = fork_command(name, changes, storage=given.storage)
        fits_a_line = POINTS not in changes
        other = f"start a changed study with `{command}`" if fits_a_line else "another --name"
        raise ProtocolError(
            f"study {name!r} has other settings: {'; '.join(map(str, found))}: "
            f"give the same settings, or {other}"
        )


def reject_added_settings(protocol: Protocol, given: StudyConfig) -> None:
    """Reject a study that was stored before this code had a setting, and says nothing of it.

    Raises:
        ProtocolError: If it lacks a frozen setting; the message names all of them.
    """
    missing = missing_settings(protocol.configuration)
    if missing:
        name = _searched_name(protocol)
        revision = protocol.git_revision or "its git revision was not stored"
        raise ProtocolError(
            f"study {name!r} must have a value for every setting, it was stored before there was "
            f"{', '.join(missing)}: finish it with the version that created it ({revision}), or "
            f"start a changed study with `{fork_command(name, {}, storage=given.storage)}`"
        )


def reject_other_format(protocol: Protocol, given: StudyConfig) -> None:
    """Reject a study whose version identified and decoded data otherwise than this one.

    Raises:
        ProtocolError: If it is of another format; the message says how to go on.
    """
    if protocol.data_format == CONTENT_FORMAT:
        return
    name = _searched_name(protocol)
    revision = protocol.git_revision or "its git revision was not stored"
    raise ProtocolError(
        f"study {name!r} must have data of format {CONTENT_FORMAT}, it has format "
        f"{protocol.data_format}: this version identifies and decodes images otherwise; finish it "
        f"with the version that created it ({revision}), or start a changed study with "
        f"`{fork_command(name, {}, storage=given.storage)}`"
    )


def reject_missing_folder(protocol: Protocol, given: StudyConfig) -> None:
    """Reject a folder of data that is not there any more, before a hub is asked for it.

    Raises:
        ProtocolError: If a study that began with a folder is given one that does not exist.
    """
    stored, source = protocol.data_source, given.data.source
    is_folder = Path(stored).is_absolute() and source != SYNTHETIC and not HUB_ID.fullmatch(source)
    if is_folder and not os.path.exists(os.path.expanduser(source)):
        was = "" if source == stored else f" ({stored!r} at init)"
        raise ProtocolError(
            f"data.source must be the folder of the images of study {_searched_name(protocol)!r}, "
            f"{source!r}{was} does not exist: say where it is now with `--data NEW_FOLDER`"
        )


def reject_other_data(protocol: Protocol, given: StudyConfig, fingerprint: str) -> None:
    """Reject data other than those that the study began with.

    Args:
        protocol: The stored protocol.
        given: Configuration that the data were found with.
        fingerprint: Of the data that were found.

    Raises:
        ProtocolError: If the fingerprints differ.
    """
    fixed = protocol.data_fingerprint
    if fixed == fingerprint:
        return
    name, source = _searched_name(protocol), resolve_source(given.data.source)
    command = fork_command(name, {"data.source": source}, storage=given.storage)
    raise ProtocolError(
        f"--data must be the data of study {name!r}, their fingerprint is {fixed[:12]} there "
        f"(from {protocol.data_source!r} at init), {fingerprint[:12]} here "
        f"(from {source!r}): give the same data, or start a changed study with `{command}`"
    )


def resolve_source(source: str) -> str:
    """Return a data source that means the same in any folder."""
    folder = Path(source).expanduser()
    return str(folder.absolute()) if folder.is_dir() else source


def reject_other_runs_folder(
    protocol: Protocol, given: StudyConfig, *, reading: bool = False
) -> None:
    """Reject a runs folder that is neither the one of `init` nor the same under another path.

    Args:
        protocol: The stored protocol.
        given: Configuration to resume with.
        reading: Whether nothing is changed, for which the remedy differs.

    Raises:
        ProtocolError: If the study's marker is not in it.
    """
    fixed, runs = protocol.runs_folder, given.storage.runs.absolute()
    # Studies of earlier versions did not note it; their marker is looked for all the same.
    if fixed is None or runs.resolve() == Path(fixed).resolve():
        return
    name = protocol.study_name
    try:
        RunPaths(runs, name).check(protocol.study_key)
    except StorageError as error:
        missing = isinstance(error, StudyNotFoundError)
        found = "holds no such study" if missing else "holds another study of this name"
        remedy = (
            "give that folder with --runs, under its path on this machine; `study status`, "
            "`trials`, `best` and `dashboard` need none"
            if reading
            else f"continue with `--runs {shlex.quote(fixed)}`, or fork the study here with "
            f"`{fork_command(name, {}, storage=given.storage)}`"
        )
        raise ProtocolError(
            f"storage.runs is '{fixed}' there, '{runs}' here, which {found}: {remedy}"
        ) from None


def reject_other_budget(protocol: Protocol, given: StudyConfig, budget: Budget) -> None:
    """Reject a budget that is not the study's.

    Raises:
        ProtocolError: If it differs; the message holds the command that changes it.
    """
    name, fixed = protocol.study_name, protocol.limit
    key = f"search.budget.{fixed.unit}"
    option = "--trials" if fixed.unit == "trials" else key
    amounts = [f"{one.amount:.15g}" for one in (fixed, budget)]
    rule = f"{option} must be {amounts[0]}, the budget of study {name!r}, got {amounts[1]}"

    def extend(more: str) -> str:
        words = (f"--{fixed.unit}", more)
        return suggest_command("extend", "--name", name, *words, storage=given.storage)

    if budget.unit != fixed.unit:
        changes = {f"search.budget.{budget.unit}": budget.amount}
        command = fork_command(_searched_name(protocol), changes, storage=given.storage)
        raise ProtocolError(
            f"search.budget must be in {fixed.unit}, study {name!r} has {fixed}, got {budget}: "
            f"leave it out to continue, or start a changed study with `{command}`"
        )
    if budget.amount > fixed.amount:
        more = f"{budget.amount - fixed.amount:.15g}"
        raise ProtocolError(f"{rule}: add to it with `{extend(more)}`")
    if budget.amount < fixed.amount:
        raise ProtocolError(
            f"{rule}: a budget only grows, with `{extend('N')}`; leave {option} out to continue"
        )


def code_differences(protocol: Protocol) -> list[Difference]:
    """Return how this code differs from that with which a study began."""
    there = {
        "git_revision": protocol.git_revision,
        "source_digest": protocol.source_digest,
        **protocol.versions,
    }
    here = {"git_revision": git_revision(), "source_digest": source_digest(), **versions()}
    return differences(*comparable_code(there, here))


def compare_code(protocol: Protocol, given: StudyConfig) -> None:
    """Warn, in one line, when this code is not that with which a study began.

    Raises:
        ProtocolError: If it differs and `protocol.strict` is set.
    """
    found = code_differences(protocol)
    if not found:
        return
    name = _searched_name(protocol)
    says = f"study {name!r} began with another code version: {'; '.join(map(str, found))}"
    if given.protocol.strict:
        raise ProtocolError(
            f"{says}: continue with that version, accept this one with `--set {STRICT}=false`, or "
            f"start a changed study with `{fork_command(name, {}, storage=given.storage)}`"
        )
    logger.warning("%s: reject this with --set %s=true", says, STRICT)


def _searched_name(protocol: Protocol) -> str:
    return searched_name(protocol.study_name)
