"""What is rejected, or warned about, when a study is resumed in another way."""

import functools
import json
import logging
import operator
import re
import shlex
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from data.image_cache import CONTENT_FORMAT
from model.configuration import StemConfig
from storage.configuration import StorageConfig
from storage.records import read_protocol
from study.configuration.config import Request, StudyConfig, all_keys
from study.configuration.dotted_keys import assign
from study.configuration.stored_settings import ADDED_SETTINGS, missing_settings
from study.creation.create import initialise, open_or_create
from study.errors import ProtocolError
from study.session.protocol import differences, reject_differences
from study.session.session import StudySession, open_session
from study.session.suggested_commands import assignment, fork_command, suggest_command
from tests.study.conftest import Call, Command

Settings = dict[str, Any]
Spoil = Callable[[Path], object]

RANGE = "{low: 0.01, high: 0.5, log: true}"
DRIFTS = {
    "learning-rate range": (
        ["--set", f"search.space.optimization.learning_rate={RANGE}"],
        "search.space.optimization.learning_rate.high is 1.0 there, 0.5 here; ",
    ),
    "image size": (["--set", "data.image_size=12"], "data.image_size is 8 there, 12 here"),
    "seed": (["--set", "seed=7"], "seed is 42 there, 7 here"),
    "pruner": (
        ["--set", "search.pruner=median"],
        "search.pruner is 'none' there, 'median' here",
    ),
}


FIRST_SETTINGS = """
seed data.image_column data.label_column data.image_size data.n_classes data.train_limit
data.validation_limit data.test_limit data.validation_fraction data.test_fraction
data.split_seed data.broken_images augmentation.flip_probability augmentation.crop
augmentation.padding augmentation.scale augmentation.ratio augmentation.brightness
augmentation.contrast augmentation.saturation augmentation.hue
augmentation.after_normalisation augmentation.cutmix_probability augmentation.cutmix_alpha
augmentation.cutmix_until network.blocks network.widths network.dropout network.activation
network.batch_norm network.residual network.zero_init_last_norm optimization.optimizer
optimization.learning_rate optimization.weight_decay optimization.momentum
optimization.decay_norm_and_bias optimization.schedule optimization.restart_epochs
optimization.restart_factor optimization.warmup_epochs optimization.label_smoothing
optimization.gradient_clip_norm optimization.ema_decay optimization.batch_size
evaluation.flip_average execution.precision execution.compile execution.channels_last
search.space search.points search.n_epochs search.patience_epochs
search.sampler search.n_startup_trials search.pruner search.pruner_percentile
search.pruner_startup_trials search.pruner_warmup_epochs workers.threads
"""
"""What every study stores since before there was `ADDED_SETTINGS`; never add to it."""


def suggested_command(message: str) -> list[str]:
    """Return the words of the fork command in a message, NEW called `changed`."""
    (command,) = re.findall(r"`study (fork NEW [^`]+)`", message)
    words = shlex.split(command)
    return ["changed" if word == "NEW" else word for word in words]


@pytest.mark.parametrize("verb", ["init", "run", "worker"])
@pytest.mark.parametrize("drift", DRIFTS)
def test_drift_is_rejected_with_the_field_both_values_and_a_command_that_continues(
    call: Call, config_file: str, verb: str, drift: str
) -> None:
    assert call("init", "--config", config_file).code == 0
    options, named = DRIFTS[drift]
    rejected = call(verb, "--config", config_file, *options)
    assert rejected.code == 2
    assert len(rejected.err.strip().splitlines()) == 1
    assert named in rejected.err
    assert "give the same settings" in rejected.err

    went_on = call(*suggested_command(rejected.err))
    assert went_on.code == 0, went_on.err
    accepted = call("init", "--config", config_file, *options, "--name", "changed")
    assert accepted.code == 0, accepted.err


def forget_settings(database: Path, *keys: str) -> None:
    """Store the protocol as a version would have that had no such settings yet."""
    with closing(sqlite3.connect(database)) as connection, connection:
        (text,) = connection.execute("SELECT configuration FROM protocols").fetchone()
        values = json.loads(text)
        for key in keys:
            *sections, last = key.split(".")
            del functools.reduce(operator.getitem, sections, values)[last]
        connection.execute("UPDATE protocols SET configuration = ?", [json.dumps(values)])


@pytest.mark.parametrize("verb", ["init", "worker", "extend", "final"])
def test_study_stored_before_a_setting_is_rejected_with_its_name_and_the_way_on(
    call: Call, config_file: str, tmp_path: Path, verb: str
) -> None:
    assert call("init", "--config", config_file).code == 0
    forget_settings(tmp_path / "study.db", "search.patience_epochs", "optimization.momentum")
    place = ["--storage", f"sqlite:///{tmp_path}/study.db", "--runs", str(tmp_path / "runs")]
    place += ["--name", "tiny"]
    n_more = ["--trials", "1"] if verb == "extend" else []
    rejected = call(verb, *place, *n_more)
    assert rejected.code == 2
    assert len(rejected.err.strip().splitlines()) == 1
    named = "optimization.momentum, search.patience_epochs"
    assert f"before there was {named}: finish it with the version" in rejected.err
    assert call("status", *place).code == 0
    forked = call(*suggested_command(rejected.err))
    assert forked.code == 0, forked.err
    assert "optimization.momentum: 'no such setting' -> 0.9" in forked.out


def test_study_stored_before_a_setting_runs_with_what_it_meant_then(
    call: Call, config_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call("init", "--config", config_file, "--set", "optimization.momentum=0.5").code == 0
    forget_settings(tmp_path / "study.db", "optimization.momentum")
    monkeypatch.setitem(ADDED_SETTINGS, "optimization.momentum", 0.5)
    place = {"storage.url": f"sqlite:///{tmp_path}/study.db", "storage.runs": tmp_path / "runs"}
    assert open_session(Request(options=place)).config.optimization.momentum == 0.5
    rejected = call("init", "--config", config_file)
    assert "optimization.momentum is 0.5 there, 0.9 here" in rejected.err


@pytest.mark.parametrize("verb", ["init", "run"])
def test_study_stored_before_the_stem_had_settings_is_resumed_with_that_of_then(
    call: Call, config_file: str, tmp_path: Path, verb: str
) -> None:
    assert call("init", "--config", config_file).code == 0
    forget_settings(tmp_path / "study.db", "network.stem")
    rejected = call(verb, "--config", config_file, "--set", "network.stem.pool=true")
    assert rejected.code == 2 and "network.stem.pool is False there, True here" in rejected.err
    assert call("init", "--config", config_file).code == 0
    place = {"storage.url": f"sqlite:///{tmp_path}/study.db", "storage.runs": tmp_path / "runs"}
    assert open_session(Request(options=place)).config.network.stem == StemConfig()


def test_every_setting_that_first_studies_lacked_says_what_they_meant() -> None:
    stored: dict[str, Any] = {}
    for key in FIRST_SETTINGS.split():
        assign(stored, key, None)
    assert missing_settings(stored) == []


@pytest.mark.parametrize("verb", ["init", "run", "worker"])
def test_another_data_file_is_rejected_with_both_fingerprints_and_sources(
    call: Call, config_file: str, pictures: Path, verb: str
) -> None:
    assert call("init", "--config", config_file).code == 0
    picture = pictures / "dots" / "0.png"
    Image.open(picture).transpose(Image.Transpose.ROTATE_90).save(picture)
    rejected = call(verb, "--config", config_file)
    assert rejected.code == 2
    there, here = re.findall(r"\b[0-9a-f]{12}\b", rejected.err)
    assert there != here
    assert rejected.err.count(f"(from '{pictures}'") == 2
    went_on = call(*suggested_command(rejected.err))
    assert went_on.code == 0, went_on.err
    assert f"data fingerprint: '{there}' -> '{here}'" in went_on.out


def forget_facts(database: Path, *names: str) -> None:
    """Store the protocol as a version would have that noted no such facts yet."""
    with closing(sqlite3.connect(database)) as connection, connection:
        (text,) = connection.execute("SELECT facts FROM protocols").fetchone()
        facts = {key: value for key, value in json.loads(text).items() if key not in names}
        connection.execute("UPDATE protocols SET facts = ?", [json.dumps(facts)])


@pytest.mark.parametrize("verb", ["init", "run", "worker", "final", "extend"])
def test_study_of_an_older_data_format_is_rejected_with_the_reason_and_the_way_on(
    call: Call, config_file: str, tmp_path: Path, verb: str
) -> None:
    assert call("init", "--config", config_file).code == 0
    noted_later = ("data_format", "origins", "left_out", "cautions")
    forget_facts(tmp_path / "study.db", *noted_later)
    place = ["--storage", f"sqlite:///{tmp_path}/study.db", "--runs", str(tmp_path / "runs")]
    place += ["--name", "tiny"]
    rejected = call(verb, *place, *(["--trials", "1"] if verb == "extend" else []))
    assert rejected.code == 2
    assert len(rejected.err.strip().splitlines()) == 1
    assert f"must have data of format {CONTENT_FORMAT}, it has format 1: this" in rejected.err
    for reader in ("status", "report"):
        assert call(reader, *place).code == 0
    forked = call(*suggested_command(rejected.err))
    assert forked.code == 0, forked.err


@pytest.mark.parametrize("verb", ["init", "run", "worker", "sanity", "data"])
def test_folder_that_was_moved_is_rejected_with_where_it_was_and_the_option(
    call: Call, config_file: str, tmp_path: Path, pictures: Path, verb: str
) -> None:
    assert call("init", "--config", config_file).code == 0
    moved = pictures.rename(tmp_path / "moved")
    place = ["--storage", f"sqlite:///{tmp_path}/study.db", "--runs", str(tmp_path / "runs")]
    rejected = call(verb, *place, "--name", "tiny")
    assert rejected.code == 2
    assert len(rejected.err.strip().splitlines()) == 1
    assert f"data.source must be the folder of the images of study 'tiny', '{pictures}' does " in (
        rejected.err
    )
    assert "`--data NEW_FOLDER`" in rejected.err
    elsewhere = call("init", *place, "--name", "tiny", "--data", "pictures")
    assert f"'pictures' ('{pictures}' at init) does not exist" in elsewhere.err
    assert call("init", *place, "--name", "tiny", "--data", str(moved)).code == 0


@pytest.mark.parametrize("verb", ["init", "run", "worker"])
def test_another_runs_folder_is_rejected_at_once_with_both_folders(
    call: Call, config_file: str, tmp_path: Path, verb: str
) -> None:
    assert call("init", "--config", config_file).code == 0
    elsewhere = tmp_path / "else where"
    start = time.monotonic()
    rejected = call(verb, "--config", config_file, "--runs", str(elsewhere))
    assert time.monotonic() - start < 40  # a worker waits a minute for a study that may come
    assert rejected.code == 2
    assert f"storage.runs is '{tmp_path}/runs' there, '{elsewhere}' here" in rejected.err
    assert f"`--runs {tmp_path}/runs`" in rejected.err
    assert not elsewhere.exists()
    went_on = call(*suggested_command(rejected.err))
    assert went_on.code == 0, went_on.err
    assert (elsewhere / "changed").is_dir()


@pytest.mark.parametrize("command", [["status", "--json"], ["trials"], ["dashboard"]])
def test_whoever_only_reads_the_database_needs_no_runs_folder(
    call: Call,
    config_file: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
) -> None:
    monkeypatch.setattr("dashboards.optuna_dashboard.app.serve_dashboard", lambda *_, **__: None)
    for name in ("tiny", "another"):  # a dashboard shows both, the others ask which
        assert call("init", "--config", config_file, "--set", f"name={name}").code == 0
    (tmp_path / "runs").rename(tmp_path / "on another machine")
    place = ["--storage", f"sqlite:///{tmp_path}/study.db", "--runs", str(tmp_path / "none")]
    named = [] if command == ["dashboard"] else ["--name", "tiny"]
    ended = call(*command, *place, *named)
    assert ended.code == 0, ended.err
    assert not (tmp_path / "none").exists()
    rejected = call(*command, *place, "--name", "tinny")
    assert rejected.code == 2 and "there: tiny, another" in rejected.err


def test_runs_folder_of_another_study_of_the_same_name_is_rejected(
    call: Call, config_file: str, tmp_path: Path
) -> None:
    place = ["--storage", f"sqlite:///{tmp_path}/other.db", "--runs", str(tmp_path / "others")]
    assert call("init", "--config", config_file).code == 0
    assert call("init", "--config", config_file, *place).code == 0
    rejected = call("report", "--config", config_file, "--runs", str(tmp_path / "others"))
    assert rejected.code == 2
    assert "holds another study of this name" in rejected.err
    assert "under its path on this machine" in rejected.err and "fork" not in rejected.err


def test_runs_folder_under_another_path_is_the_same(
    call: Call, config_file: str, tmp_path: Path
) -> None:
    assert call("init", "--config", config_file).code == 0
    (tmp_path / "link").symlink_to(tmp_path / "runs")
    assert call("init", "--config", config_file, "--runs", str(tmp_path / "link")).code == 0
    (tmp_path / "runs").rename(tmp_path / "moved")
    moved = call("init", "--config", config_file, "--runs", str(tmp_path / "moved"))
    assert moved.code == 0, moved.err


def test_message_names_a_location_that_is_not_the_default_but_no_password() -> None:
    usual = fork_command("old one", {"seed": 7}, storage=StorageConfig())
    assert usual == "study fork NEW --name 'old one' --set seed=7"
    url = "postgresql+psycopg://me:hunter2@host/db"
    place = StorageConfig(url=url, runs=Path("/shared/my runs"))
    command = suggest_command("extend", "--trials", "2", storage=place)
    assert "hunter2" not in command
    assert shlex.split(command)[4:] == [
        *("--storage", "postgresql+psycopg://me:***@host/db"),
        *("--runs", "/shared/my runs"),
    ]


numbers = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
printable = st.text(st.characters(exclude_categories=("C", "Z")) | st.just(" "))
plain = numbers | printable


@given(
    plain
    | st.text(st.characters(exclude_categories=("Cs", "Co", "Cn")))
    | st.lists(plain, max_size=3)
    | st.dictionaries(printable, plain, max_size=3)
)
def test_assignment_survives_shell_and_yaml(value: object) -> None:
    (text,) = shlex.split(shlex.join([assignment("section.key", value)]))
    assert len(text.splitlines()) == 1
    assert Request(assignments=(text,))._values({})["section"]["key"] == value


def test_differences_name_the_innermost_keys() -> None:
    old = {"a": {"b": 1, "c": None}, "d": [1, 2]}
    new = {"a": {"b": 2, "c": {"low": 1}}, "d": [1, 3]}
    found = {one.key: (one.old, one.new) for one in differences(old, new)}
    assert found == {"a.b": (1, 2), "a.c": (None, {"low": 1}), "d": ([1, 2], [1, 3])}
    assert differences(old, old) == []


def test_long_lists_are_distinguished_by_what_first_differs() -> None:
    old = [{"network.dropout": n / 100} for n in range(12)]
    new = [*old[:10], {"network.dropout": 0.5}, {"network.dropout": 0.6}]
    (found,) = differences({"search": {"points": old}}, {"search": {"points": new}})
    assert str(found) == "search.points[10].network.dropout is 0.1 there, 0.5 here"
    (found,) = differences({"search": {"points": old}}, {"search": {"points": old[:9]}})
    assert str(found) == "number of search.points is 12 there, 9 here"
    (found,) = differences({"d": [1, 2]}, {"d": [1, 3]})
    assert str(found) == "d is [1, 2] there, [1, 3] here"


@pytest.fixture
def begun_elsewhere(tiny_settings: Settings) -> StudySession:
    """A study whose `init` ran with another version of the code."""
    session = initialise(StudyConfig.model_validate(tiny_settings))
    facts = deepcopy(session.protocol.facts)
    facts["git_revision"], facts["source_digest"] = "0" * 40, "0" * 16
    facts["versions"]["torch"] = "1.0"
    with session.storage_handle.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE protocols SET facts = ?", (json.dumps(facts),))
    return session


def request(session: StudySession, *assignments: str) -> Request:
    place = session.config.storage
    options = {"storage.url": place.url, "storage.runs": str(place.runs)}
    return Request(assignments=assignments, options=options)


def test_another_code_version_is_warned_about_in_one_line(
    begun_elsewhere: StudySession, caplog: pytest.LogCaptureFixture
) -> None:
    open_session(request(begun_elsewhere)).compare_code()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    text = record.getMessage()
    assert "\n" not in text
    assert f"git_revision is '{'0' * 40}' there" in text
    assert f"source_digest is '{'0' * 16}' there" in text
    assert re.search(r"torch is '1\.0' there, '\d[^']+' here", text)
    assert "optuna" not in text


@pytest.mark.parametrize("revision", [None, "0" * 40])
def test_the_same_code_is_passed_over_whatever_git_says(
    tiny_settings: Settings, caplog: pytest.LogCaptureFixture, revision: str | None
) -> None:
    session = initialise(StudyConfig.model_validate(tiny_settings))
    facts = session.protocol.facts | {"git_revision": revision}
    with session.storage_handle.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE protocols SET facts = ?", (json.dumps(facts),))
    open_session(request(session, "protocol.strict=true")).compare_code()
    assert caplog.records == []


def test_strict_study_rejects_another_code_version_unless_set_otherwise(
    call: Call, begun_elsewhere: StudySession, config_file: str
) -> None:
    for verb in ("worker", "run", "final"):
        rejected = call(verb, "--config", config_file, "--set", "protocol.strict=true")
        assert rejected.code == 2
        assert "torch is '1.0' there" in rejected.err
    (_, name, _) = re.findall(r"`([^`]+)`", rejected.err)[-1].split()[2:5]
    assert name == "--name"
    went_on = call(*suggested_command(rejected.err), "--set", "protocol.strict=true")
    assert went_on.code == 0, went_on.err


def test_strictness_of_init_holds_until_a_request_says_otherwise(
    tiny_settings: Settings, config_file: str
) -> None:
    strict = Request(file=Path(config_file), assignments=("protocol.strict=true",))
    session = open_or_create(strict)
    assert open_session(request(session)).config.protocol.strict
    assert open_session(Request(file=Path(config_file))).config.protocol.strict
    assert open_or_create(Request(file=Path(config_file))).config.protocol.strict
    told = request(session, "protocol.strict=false")
    assert not open_session(told).config.protocol.strict


def test_commands_that_only_read_never_warn(
    call: Call, begun_elsewhere: StudySession, config_file: str, caplog: pytest.LogCaptureFixture
) -> None:
    for verb in ("status", "trials", "init"):
        assert call(verb, "--config", config_file).code == 0
    assert call("extend", "--config", config_file, "--trials", "1").code == 0
    assert caplog.records == []


@pytest.mark.slow
def test_worker_of_another_code_version_says_one_line_and_works(
    command: Command, begun_elsewhere: StudySession, config_file: str
) -> None:
    ended = command("worker", "--config", config_file)
    assert ended.returncode == 0, ended.stderr
    warnings = [line for line in ended.stderr.splitlines() if "WARNING" in line]
    assert len(warnings) == 1 and "torch is '1.0' there" in warnings[0]
    ended = command("worker", "--config", config_file, "--set", "protocol.strict=true")
    assert ended.returncode == 2


def test_rejection_of_a_final_run_names_the_settings_of_final_runs(
    tiny_settings: Settings,
) -> None:
    session = initialise(StudyConfig.model_validate(tiny_settings), name="tiny-final")
    protocol = read_protocol(session.storage_handle.database, "tiny-final")
    search = session.config.search.model_copy(update={"n_epochs": 9})
    with pytest.raises(ProtocolError) as rejection:
        reject_differences(protocol, session.config.model_copy(update={"search": search}))
    assert "final.n_epochs is 3 there, 9 here" in str(rejection.value)
    assert "fork NEW --name tiny --set final.n_epochs=9" in str(rejection.value)


def test_every_frozen_setting_can_be_given_to_a_fork(tiny_settings: Settings) -> None:
    config = StudyConfig.model_validate(tiny_settings).model_dump(mode="json")
    for key in all_keys():
        value: Any = config
        for part in key.split("."):
            value = value[part]
        resolved = Request(assignments=(assignment(key, value),)).resolve(base=config)
        assert resolved == StudyConfig.model_validate(tiny_settings)
