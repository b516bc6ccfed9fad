import time
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from dashboards.analysis.status import read_status
from study.configuration.config import Request
from study.creation.extend import extend
from study.creation.queue import SAMPLED
from study.session.session import open_session
from study.workers.slurm import batch_script
from tests.slurm import Cluster, Task, requires_slurm, running_cluster, wait_until
from tests.study.conftest import Command
from tests.tools.processes import EPOCH_LINE

pytestmark = [pytest.mark.slow, requires_slurm]
N_EPOCHS = 40
DONE = Task("COMPLETED", exit_code="0:0", n_restarts=0)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_cluster() as cluster:
        yield cluster


class SlurmStudy:
    """A study that workers of a cluster search."""

    def __init__(self, cluster: Cluster, command: Command, file: Path, elsewhere: Path) -> None:
        options = ["--config", str(file)]
        assert command("init", *options).returncode == 0
        options += ["--tasks", "2", "--gpus-per-task", "0", "--time", "10:00"]
        printed = command("slurm-script", *options, "--node", cluster.node)
        assert printed.returncode == 0, printed.stderr
        self._script = printed.stdout
        self._cluster = cluster
        self._elsewhere = elsewhere
        self.session = open_session(Request(file=file))

    def submit(self, *options: str) -> int:
        return self._cluster.submit(self._script, *options, cwd=self._elsewhere)

    def log(self) -> str:
        paths = sorted(self.session.paths.logs.glob("slurm-*.log"))
        return "".join(path.read_text() for path in paths)

    def wait_until(self, condition: Callable[[], bool], job: int) -> None:
        def checked() -> bool:
            assert all(task.state != "FAILED" for task in self._cluster.tasks(job)), self.log()
            return condition()

        wait_until(checked, seconds=90)

    def epochs(self) -> Counter[tuple[int, int]]:
        """Count how often the workers said that they had finished an epoch of a trial."""
        found = EPOCH_LINE.findall(self.log())
        return Counter((int(trial), int(epoch)) for trial, epoch in found)

    def counts(self) -> dict[str, int]:
        status = read_status(self.session.storage_handle, self.session.protocol.study_name)
        return {key: status.as_json()[key] for key in ("waiting", "running", "complete")}

    def assert_complete(self, n_trials: int) -> None:
        """Every trial is complete, and no epoch of it was trained twice."""
        assert self.counts() == {"waiting": 0, "running": 0, "complete": n_trials}
        expected = {(trial, epoch + 1) for trial in range(n_trials) for epoch in range(N_EPOCHS)}
        assert self.epochs() == dict.fromkeys(expected, 1)


@pytest.fixture
def open_study(
    cluster: Cluster, command: Command, tiny_settings: dict[str, object], tmp_path: Path
) -> Callable[[int], SlurmStudy]:
    def open_study(n_trials: int) -> SlurmStudy:
        settings = deepcopy(tiny_settings)
        settings["search"] |= {"budget": {"trials": n_trials}, "n_epochs": N_EPOCHS}  # type: ignore[operator]
        file = tmp_path / "tiny.yaml"
        file.write_text(yaml.safe_dump(settings))
        elsewhere = tmp_path / "else where"
        elsewhere.mkdir()
        return SlurmStudy(cluster, command, file, elsewhere)

    return open_study


def test_tasks_see_a_gpu_each_and_sbatch_reads_what_was_meant(
    cluster: Cluster, tmp_path: Path
) -> None:
    folder = tmp_path / 'it\'s "100%" # here'
    folder.mkdir()
    output = str(folder).replace("%", "%%")
    script = batch_script(
        title="Says its GPU",
        options=["--array=1-2", "--gres=gpu:1", f"--output={output}/%a.log"],
        setup=[],
        command=["bash", "-c", 'echo "gpu $CUDA_VISIBLE_DEVICES"; exec sleep 3'],
    )
    job = cluster.submit(script, cwd=tmp_path)
    wait_until(lambda: cluster.has_ended(job))
    assert cluster.tasks(job) == [DONE, DONE]
    said = [path.read_text() for path in folder.iterdir()]
    assert sorted(said) == ["gpu 0\n", "gpu 1\n"]


def test_requeued_task_gives_its_trial_back_and_the_study_is_finished(
    cluster: Cluster, open_study: Callable[[int], SlurmStudy]
) -> None:
    study = open_study(2)
    job = study.submit()
    study.wait_until(lambda: {(0, 2), (1, 2)} <= study.epochs().keys(), job)
    cluster.client("scontrol", "requeue", f"{job}_1")
    study.wait_until(lambda: study.counts()["running"] < 2, job)
    study.wait_until(lambda: cluster.has_ended(job), job)
    restarted = Task("COMPLETED", exit_code="0:0", n_restarts=1)
    assert sorted(cluster.tasks(job), key=lambda task: task.n_restarts) == [DONE, restarted]
    study.assert_complete(2)


def test_worker_leaves_before_its_time_limit_and_another_task_finishes_the_study(
    cluster: Cluster, open_study: Callable[[int], SlurmStudy]
) -> None:
    study = open_study(1)
    start = time.monotonic()
    # sbatch's own options come before those of the script.
    limited = study.submit("--array=1", "--time=1", "--signal=B:USR1@5")
    session = study.session
    while not cluster.has_ended(limited):
        counts = study.counts()
        if counts["waiting"] == 0:  # so that there is work at the signal
            session = extend(session, [SAMPLED])
        assert time.monotonic() < start + 150
        time.sleep(0.2)
    assert cluster.tasks(limited) == [DONE], study.log()
    counts = study.counts()
    assert counts["running"] == 0 and counts["waiting"] > 0
    assert study.epochs()
    rest = study.submit("--array=1")
    study.wait_until(lambda: cluster.has_ended(rest), rest)
    assert cluster.tasks(rest) == [DONE]
    study.assert_complete(session.protocol.budget)
