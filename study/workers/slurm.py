"""The batch script that runs workers as the tasks of a Slurm array.

It `exec`s the worker, so that Slurm's signals arrive there, and holds no address of a database
server, for that may hold a password.
"""

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

from storage.addresses import parse_url, sqlite_path
from storage.configuration import shown_url
from storage.group_rights import make_folders
from study.errors import StudyError
from study.session.protocol import resolve_source
from study.session.session import StudySession
from study.workers.launcher import postgresql_hint, worker_command

TIME_LIMIT = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", re.ASCII)
# Slurm sends its signal up to a minute early (man sbatch, --signal); by then a worker has left.
SIGNAL_SECONDS = 60
LEAVE_SECONDS = 180


@dataclass(frozen=True)
class ArrayJob:
    """What Slurm is asked for.

    Attributes:
        n_tasks: Tasks of the array, one worker each.
        at_once: Tasks that run at the same time at most; None: all.
        limit_seconds: Time limit of a task.
        gpus_per_task: 1, or 0 for workers on CPUs.
        cpus_per_task: CPU cores of a task; None: the threads that the study fixed.
        partition: Where the tasks queue; None: the cluster's default.
        node: The one node that runs them; None: any.
        more: Further options of sbatch.
    """

    n_tasks: int
    at_once: int | None
    limit_seconds: int
    gpus_per_task: int
    cpus_per_task: int | None
    partition: str | None
    node: str | None
    more: Sequence[str]

    @property
    def signal_seconds(self) -> int:
        """Time before the limit at which Slurm is asked for a signal."""
        return min(SIGNAL_SECONDS, self.limit_seconds // 4)

    @property
    def stop_after_seconds(self) -> int:
        """Time after which a worker leaves on its own."""
        return self.limit_seconds - min(LEAVE_SECONDS, self.limit_seconds // 2)


def parse_time_limit(text: str) -> int:
    """Return the seconds of a time limit in one of Slurm's forms, of which 4:00 is four minutes.

    Raises:
        StudyError: If it has another form, or is shorter than Slurm's shortest, one minute.
    """
    match = TIME_LIMIT.fullmatch(text)
    if match is not None:
        days, *fields = match.groups(default="")
        given = [int(field) for field in fields if field]
        if not days and len(given) < 3:
            given = [0, *given]  # minutes, or minutes:seconds
        hours, minutes, seconds = (*given, 0, 0)[:3]
        limit = ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds
    if match is None or limit < 60:
        raise StudyError(
            "--time must be a time limit of Slurm, from one minute, such as 4:00:00 or "
            f"1-00:00:00, got {text!r}: give days-hours:minutes:seconds"
        )
    return limit


def slurm_script(session: StudySession, job: ArrayJob, *, leave_when_idle: bool) -> str:
    """Return the text of the script; create the folder of its logs, which Slurm does not.

    Args:
        session: The study.
        job: What Slurm is asked for.
        leave_when_idle: Whether a worker leaves when nothing waits, though others still run.

    Raises:
        StudyError: If the database cannot be reached from several nodes, or a value cannot stand
            in a script.
    """
    session = _anchored(session)
    config = session.config
    storage = _storage_lines(config.storage.url, job)
    options = _sbatch_options(session, job)
    command = [
        *worker_command(session, device=_device(config.execution.device, job)),
        *("--runs", str(config.storage.runs)),
        *("--data", config.data.source),
        *("--stop-after", duration(job.stop_after_seconds)),
        *(["--leave-when-idle"] if leave_when_idle else []),
    ]
    make_folders(session.paths.logs)
    return batch_script(
        title=f"Workers of the study {session.protocol.study_name}, one per task: sbatch FILE",
        options=options,
        setup=[*storage, f"export OMP_NUM_THREADS={config.workers.threads}"],
        command=command,
    )


def script_hints(session: StudySession, job: ArrayJob) -> list[str]:
    """Return hints for those who print a script."""
    n_workers = min(job.n_tasks, job.at_once or job.n_tasks)
    hints = [postgresql_hint(session, n_workers)]
    is_server = parse_url(session.config.storage.url).drivername != "sqlite"
    if is_server and "STUDY_STORAGE" not in os.environ:
        hints += ["hint: export STUDY_STORAGE before sbatch, for the script holds no address"]
    return [hint for hint in hints if hint]


def batch_script(
    *, title: str, options: Sequence[str], setup: Sequence[str], command: Sequence[str]
) -> str:
    """Return a batch script that becomes a command.

    Args:
        title: First comment.
        options: Options of sbatch.
        setup: Lines of bash.
        command: Program and arguments, of any characters.

    Raises:
        StudyError: If sbatch would read an option as something else.
    """
    lines = ["#!/bin/bash", f"# {title}"]
    lines += [f"#SBATCH {_quoted_for_sbatch(option)}" for option in options]
    lines += ["", *setup]
    words = [shlex.quote(word) for word in command]
    # One option per line; the shell joins them again.
    layout = [f" \\\n    {word}" if word.startswith("--") else f" {word}" for word in words]
    return "\n".join([*lines, f"exec{''.join(layout)}", ""])


def _sbatch_options(session: StudySession, job: ArrayJob) -> list[str]:
    at_once = f"%{job.at_once}" if job.at_once else ""
    logs = str(session.paths.logs).replace("%", "%%")
    return [
        f"--job-name={session.protocol.study_name}",
        f"--array=1-{job.n_tasks}{at_once}",
        "--nodes=1",
        "--ntasks=1",
        f"--cpus-per-task={job.cpus_per_task or session.config.workers.threads}",
        *([f"--gres=gpu:{job.gpus_per_task}"] if job.gpus_per_task else []),
        f"--time={_clock(job.limit_seconds)}",
        f"--signal=B:USR1@{job.signal_seconds}",
        "--requeue",
        "--open-mode=append",
        f"--output={logs}/slurm-%A_%a.log",
        *([f"--partition={job.partition}"] if job.partition else []),
        *([f"--nodelist={job.node}"] if job.node else []),
        *job.more,
    ]


def _storage_lines(url: str, job: ArrayJob) -> list[str]:
    parsed = parse_url(url)
    if parsed.drivername != "sqlite":
        return [
            "# The address of the database may hold a password, so it does not stand here. sbatch",
            "# passes the environment on, so export STUDY_STORAGE first. Better still, keep the",
            "# password out of it, in a ~/.pgpass that every node sees.",
            ': "${STUDY_STORAGE:?must hold the address of the database when sbatch is called}"',
        ]
    if job.node is None:
        raise StudyError(
            "storage.url must be PostgreSQL where tasks may run on several nodes, got "
            f"{shown_url(url)!r}: use postgresql+psycopg://USER@HOST/NAME, or bind all tasks to "
            "one with --node NAME"
        )
    address = f"sqlite:///{sqlite_path(parsed)}"
    return [
        "# SQLite serves one node, to which --nodelist binds all tasks.",
        f"export STUDY_STORAGE={shlex.quote(address)}",
    ]


def _device(configured: str, job: ArrayJob) -> str:
    if not job.gpus_per_task:
        return configured
    if configured == "cpu":
        raise StudyError(
            "--gpus-per-task must be 0 where execution.device is cpu, got "
            f"{job.gpus_per_task}: set it, or another --device"
        )
    return "cuda"  # Slurm shows a task its own GPU only; auto would fall back to the CPU


def _anchored(session: StudySession) -> StudySession:
    """Return the session with absolute paths, for sbatch may be called in any folder."""
    config = session.config
    changes = {
        "storage.runs": config.storage.runs.absolute(),
        "data.cache": config.data.cache.absolute(),
        "data.source": resolve_source(config.data.source),
    }
    return replace(session, config=config.replacing(changes))


def _quoted_for_sbatch(option: str) -> str:
    # sbatch knows a shell's quotes, save that a backslash counts inside single ones.
    if not option.startswith("-") or "\\" in option or not option.isprintable():
        raise StudyError(
            "an option of sbatch must begin with a dash and hold no backslash or line break, got "
            f"{option!r}: change it, or the folder that it names"
        )
    return shlex.quote(option)


def _clock(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return (f"{days}-" if days else "") + f"{hours:02}:{minutes:02}:{seconds:02}"


def duration(seconds: int) -> str:
    """Return seconds as `--stop-after` takes them, such as 3h57m."""
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = {"h": hours, "m": minutes, "s": seconds}
    return "".join(f"{number}{unit}" for unit, number in parts.items() if number)
