"""A real Slurm cluster of one node for tests, on free ports and in a temporary folder."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = ("munged", "munge", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue")
requires_slurm = pytest.mark.skipif(
    os.geteuid() != 0 or not all(shutil.which(name) for name in PROGRAMS),
    reason="needs root and Debian's packages slurm-wlm and munge (apt-get install ...)",
)
ROOT = Path(__file__).parents[1]
HOST = socket.gethostname().split(".")[0]
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2
MpiDefault=none
ReturnToService=2
JobRequeue=1
KillWait=10
InactiveLimit=0
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


ENDED = ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL")


@dataclass(frozen=True)
class Task:
    """A task of an array, in Slurm's words."""

    state: str
    exit_code: str
    n_restarts: int


@dataclass(frozen=True)
class Cluster:
    """A running cluster.

    Attributes:
        node: Name of its only node.
        environment: What its clients need, and pass on to the jobs.
    """

    node: str
    environment: dict[str, str]

    def submit(self, script: str, *options: str, cwd: Path) -> int:
        """Submit a batch script, which sbatch reads from its standard input; return the job."""
        return int(self.client("sbatch", "--parsable", *options, input=script, cwd=cwd))

    def tasks(self, job: int) -> list[Task]:
        """Return what Slurm knows of an array; tasks that wait may be one entry."""
        shown = self.client("scontrol", "--oneliner", "show", "job", str(job))
        records = [dict(re.findall(r"(\w+)=(\S*)", line)) for line in shown.splitlines()]
        return [
            Task(
                state=record["JobState"],
                exit_code=record["ExitCode"],
                n_restarts=int(record["Restarts"]),
            )
            for record in records
        ]

    def has_ended(self, job: int) -> bool:
        return all(task.state in ENDED for task in self.tasks(job))

    def cancel_all(self) -> None:
        """End what a test that failed has left, for jobs outlive the daemons."""
        while self.client("squeue", "--noheader"):
            self.client("scancel", "--user", "root")
            time.sleep(1)

    def client(self, *command: str, **options: Any) -> str:
        """Return what a client of Slurm says."""
        ended = subprocess.run(
            command,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            **options,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Yield a cluster whose node is ready; its daemons end with the context."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)  # munged rejects a socket that not everyone can reach
    try:
        with _munge(folder / "munge"):
            configuration = _configure(folder)
            with (
                _daemon(folder / "slurmctld.pid", "slurmctld", "-f", str(configuration)),
                _daemon(folder / "slurmd.pid", "slurmd", "-f", str(configuration)),
            ):
                kept = {k: v for k, v in os.environ.items() if not k.startswith("STUDY_")}
                own = {"SLURM_CONF": str(configuration), "PYTHONPATH": str(ROOT)}
                cluster = Cluster(HOST, kept | own)
                wait_until(lambda: "State=IDLE" in cluster.client("scontrol", "show", "nodes"))
                try:
                    yield cluster
                finally:
                    cluster.cancel_all()
    finally:
        shutil.rmtree(folder)


def wait_until(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.2)


def _configure(folder: Path) -> Path:
    for name in ("state", "spool"):
        (folder / name).mkdir()
    with socket.create_server(("", 0)) as one, socket.create_server(("", 0)) as other:
        ports = one.getsockname()[1], other.getsockname()[1]
    path = folder / "slurm.conf"
    path.write_text(
        CONFIGURATION.format(
            host=HOST, folder=folder, controller_port=ports[0], node_port=ports[1]
        )
    )
    # No GPU, but two files that stand for some: Slurm shares them out and names them to the jobs.
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
    return path


@contextmanager
def _munge(folder: Path) -> Iterator[None]:
    folder.mkdir(mode=0o755)
    key = folder / "key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    places = {"socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    options = [f"--{option}={folder / name}" for option, name in places.items()]
    with _daemon(folder / "pid", "munged", f"--key-file={key}", *options):
        yield


@contextmanager
def _daemon(pid_file: Path, *command: str) -> Iterator[None]:
    """Start a daemon, which leaves its id in a file; end it by that id."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")
    wait_until(lambda: pid_file.exists() and pid_file.read_text().strip() != "")
    pid = int(pid_file.read_text())
    try:
        yield
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not Path(f"/proc/{pid}").exists())
