import os
import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.configuration.config import validated
from study.creation.create import initialise
from study.errors import StudyError
from study.session.session import StudySession
from study.workers.slurm import (
    ArrayJob,
    batch_script,
    duration,
    parse_time_limit,
    script_hints,
    slurm_script,
)

JOB = ArrayJob(
    n_tasks=4,
    at_once=None,
    limit_seconds=4 * 3600,
    gpus_per_task=1,
    cpus_per_task=None,
    partition=None,
    node="gpu-7",
    more=(),
)
SECRET = "postgresql+psycopg://me:hunter2@db/studies?password=hunter3"
# What Linux takes as an argument: no NUL; surrogates are no text.
WORDS = st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))


@pytest.fixture
def session(tiny_settings: dict[str, object]) -> StudySession:
    return initialise(validated(tiny_settings))


def stored_at(session: StudySession, url: str) -> StudySession:
    place = session.config.storage.model_copy(update={"url": url})
    return replace(session, config=session.config.model_copy(update={"storage": place}))


def run_bash(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("STUDY_")}
    return subprocess.run(
        ["bash"], input=script, env=kept | environment, capture_output=True, text=True
    )


def options_of(script: str) -> list[str]:
    lines = [line for line in script.splitlines() if line.startswith("#SBATCH ")]
    return [word for line in lines for word in shlex.split(line.removeprefix("#SBATCH "))]


def command_of(script: str) -> list[str]:
    command = script[script.index("\nexec ") :]
    return shlex.split(command)


@given(WORDS)
def test_command_receives_its_words_unchanged(words: list[str]) -> None:
    script = batch_script(
        title="words", options=[], setup=[], command=["/usr/bin/printf", "%s\\0", "", *words]
    )
    ended = subprocess.run(["bash"], input=script.encode(), capture_output=True, check=True)
    assert ended.stdout.decode().split("\0")[1:-1] == words


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_option_is_one_line_that_reads_as_given_or_is_rejected(text: str) -> None:
    option = f"--comment={text}"
    try:
        script = batch_script(title="options", options=[option], setup=[], command=["true"])
    except StudyError:
        assert "\\" in text or not text.isprintable()
    else:
        assert options_of(script) == [option]


def test_script_asks_for_one_gpu_a_signal_and_a_requeue(session: StudySession) -> None:
    script = slurm_script(session, JOB, leave_when_idle=False)
    options = options_of(script)
    assert {
        "--job-name=tiny",
        "--array=1-4",
        "--ntasks=1",
        "--cpus-per-task=1",
        "--gres=gpu:1",
        "--time=04:00:00",
        "--signal=B:USR1@60",
        "--requeue",
        "--open-mode=append",
        f"--output={session.paths.logs}/slurm-%A_%a.log",
        "--nodelist=gpu-7",
    } < set(options)
    assert session.paths.logs.is_dir()
    command = command_of(script)
    assert command[0] == "exec"
    assert command[2:6] == ["-P", "-m", "study", "worker"]
    for pair in (["--name", "tiny"], ["--device", "cuda"], ["--stop-after", "3h57m"]):
        assert command[command.index(pair[0]) + 1] == pair[1]
    assert "--leave-when-idle" not in command


def test_script_passes_on_what_differs(session: StudySession) -> None:
    job = replace(
        JOB,
        n_tasks=20,
        at_once=5,
        limit_seconds=86400 + 60,
        gpus_per_task=0,
        cpus_per_task=7,
        partition="night shift",
        more=["--account=lab", "--gres=gpu:a100:1"],
    )
    script = slurm_script(session, job, leave_when_idle=True)
    options = options_of(script)
    assert "--gres=gpu:1" not in options
    assert options[-4:] == [
        "--partition=night shift",
        "--nodelist=gpu-7",
        "--account=lab",
        "--gres=gpu:a100:1",
    ]
    assert {"--array=1-20%5", "--cpus-per-task=7", "--time=1-00:01:00"} < set(options)
    command = command_of(script)
    assert command[-1] == "--leave-when-idle"
    assert command[command.index("--device") + 1] == "auto"


def test_script_holds_whole_paths_and_quotes_them(
    tiny_settings: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = tiny_settings | {
        "data": tiny_settings["data"] | {"source": "pictures", "cache": "the cache"},  # type: ignore[operator]
        "storage": {"url": "sqlite:///it's $HOME/study.db", "runs": "100% runs"},
    }
    script = slurm_script(initialise(validated(settings)), JOB, leave_when_idle=False)
    logs = f"{tmp_path}/100%% runs/tiny/logs"
    assert f"--output={logs}/slurm-%A_%a.log" in options_of(script)
    command = command_of(script)
    assert command[command.index("--runs") + 1] == f"{tmp_path}/100% runs"
    assert command[command.index("--data") + 1] == f"{tmp_path}/pictures"
    assert f'data.cache="{tmp_path}/the cache"' in command
    shown = run_bash(script[: script.index("\nexec ")] + '\necho "$STUDY_STORAGE"')
    assert shown.stdout == f"sqlite:///{tmp_path}/it's $HOME/study.db\n"


def test_address_of_a_server_stays_in_the_environment(session: StudySession) -> None:
    job = replace(JOB, node=None)
    script = slurm_script(stored_at(session, SECRET), job, leave_when_idle=False)
    assert "hunter" not in script and "psycopg" not in script
    assert "~/.pgpass" in script
    assert not any("nodelist" in option for option in options_of(script))
    begin = script[: script.index("\nexec ")] + "\necho begun"
    assert run_bash(begin, STUDY_STORAGE=SECRET).stdout == "begun\n"
    without = run_bash(begin)
    assert without.returncode != 0 and without.stdout == ""
    assert "STUDY_STORAGE: must hold the address of the database" in without.stderr


def test_hints_tell_what_the_script_needs(
    session: StudySession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STUDY_STORAGE", raising=False)
    assert script_hints(session, JOB) == []
    many = replace(JOB, n_tasks=20)
    assert "20 workers" in script_hints(session, many)[0]
    assert script_hints(session, replace(many, at_once=8)) == []
    server = stored_at(session, SECRET)
    assert script_hints(server, many) == [
        "hint: export STUDY_STORAGE before sbatch, for the script holds no address"
    ]
    monkeypatch.setenv("STUDY_STORAGE", SECRET)
    assert script_hints(server, many) == []


def test_sqlite_without_a_node_is_rejected(session: StudySession) -> None:
    with pytest.raises(StudyError, match="must be PostgreSQL.*--node NAME"):
        slurm_script(session, replace(JOB, node=None), leave_when_idle=False)


def test_gpu_for_a_study_on_cpus_is_rejected(session: StudySession) -> None:
    execution = session.config.execution.model_copy(update={"device": "cpu"})
    on_cpus = replace(session, config=session.config.model_copy(update={"execution": execution}))
    with pytest.raises(StudyError, match="--gpus-per-task must be 0"):
        slurm_script(on_cpus, JOB, leave_when_idle=False)


@pytest.mark.parametrize("option", ["account=lab", "--comment=a\nb", "--comment=a\\b", ""])
def test_option_that_sbatch_would_misread_is_rejected(session: StudySession, option: str) -> None:
    with pytest.raises(StudyError, match="an option of sbatch must begin with a dash"):
        slurm_script(session, replace(JOB, more=[option]), leave_when_idle=False)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1", 60),
        ("90", 5400),
        ("4:00", 240),
        ("4:00:00", 14400),
        ("2-0", 172800),
        ("1-2:30", 95400),
        ("1-00:00:01", 86401),
        ("0-0:1:0", 60),
    ],
)
def test_time_limit_means_what_slurm_means(text: str, seconds: int) -> None:
    assert parse_time_limit(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0", "0:59", "4h", "-1", "1:2:3:4", "1-", "UNLIMITED", "1.5", " 5", "\u0665"]
)
def test_other_time_limits_are_rejected(text: str) -> None:
    with pytest.raises(StudyError, match="--time must be a time limit of Slurm"):
        parse_time_limit(text)


@given(st.integers(60, 10**7))
def test_worker_leaves_before_the_signal_which_comes_before_the_limit(limit: int) -> None:
    job = replace(JOB, limit_seconds=limit)
    assert 0 < job.signal_seconds < limit
    assert 0 < job.stop_after_seconds < limit - job.signal_seconds
    if limit >= 10 * 60:  # Slurm may send its signal a minute early
        assert job.stop_after_seconds <= limit - job.signal_seconds - 60


@given(st.integers(1, 10**7))
def test_duration_reads_as_meant(seconds: int) -> None:
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", duration(seconds))
    assert match is not None
    hours, minutes, rest = map(int, match.groups(default="0"))
    assert (hours * 60 + minutes) * 60 + rest == seconds
    assert minutes < 60 and rest < 60
