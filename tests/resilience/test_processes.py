import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools.processes import ROOT, ProcessServer, wait_until
from tests.tools.studies import SmallStudy


@pytest.mark.slow
def test_forked_process_computes_what_a_fresh_interpreter_computes(study: SmallStudy) -> None:
    study.init()
    subprocess.run(
        [sys.executable, "-m", "study", *study.arguments("worker")],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    assert study.run_sha256(0) == study.straight().run_sha256(0)


@pytest.mark.slow
def test_process_has_its_own_exit_code_output_and_end(
    processes: ProcessServer, study: SmallStudy
) -> None:
    rejected = processes.start("worker", "--config", "none.yaml", folder=study.folder)
    assert rejected.wait() == 2
    assert "study: --config none.yaml cannot be read" in rejected.errors.read_text()
    assert rejected.output.read_text() == ""

    study = study.with_settings(search={"n_epochs": 1000}).init()
    worker = study.start_worker()
    worker.wait_for_epoch(1)
    worker.send_signal(signal.SIGKILL)
    assert worker.wait() == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("end", ["closed", "killed"])
def test_no_process_outlives_its_server(study: SmallStudy, end: str) -> None:
    study = study.with_settings(search={"n_epochs": 1000}).init()
    with ProcessServer() as processes:
        running = processes.start(*study.arguments("worker"), folder=study.folder)
        running.wait_for_epoch(1)
        frozen = processes.start(*study.arguments("worker"), folder=study.folder)
        frozen.send_signal(signal.SIGSTOP)
        if end == "killed":
            os.kill(processes.pid, signal.SIGKILL)

    def gone(pid: int) -> bool:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        return state == "Z"

    wait_until(lambda: gone(running.pid) and gone(frozen.pid), "the end of both", seconds=5)
