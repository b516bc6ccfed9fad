"""Workers of `study run` that die by a signal, or are stuck in native code."""

import signal
from pathlib import Path

import pytest
from optuna.trial import TrialState

from storage.leases import read_endings
from storage.process_identity import is_running
from study.stop_signal import INTERRUPTED
from tests.tools.processes import ROOT, StartedProcess, wait_until
from tests.tools.studies import SmallStudy, opened

CRASH_IN_THE_SECOND_TRIAL = """
import builtins, os, signal, sys

original = builtins.__import__

def crash(run, *_, **__):
    os.kill(os.getpid(), signal.SIGSEGV)

def import_and_change(*given, **options):
    module = original(*given, **options)
    objective = sys.modules.get("study.trial.objective")
    if hasattr(objective, "TrialRun"):
        builtins.__import__ = original
        train = objective.TrialRun.__call__
        objective.TrialRun.__call__ = lambda run, *given: (
            crash if run.paths.folder.name.endswith("1") else train
        )(run, *given)
    return module

if "STUDY_LAUNCHER_PID" in os.environ:
    builtins.__import__ = import_and_change
"""
HOLD_THE_INTERPRETER_LOCK = """
import ctypes, os, pathlib
pathlib.Path(os.environ["STUCK"], f"{os.getpid()}.pid").touch()
ctypes.PyDLL(None).sleep(600)
"""


def start_run(study: SmallStudy, module: str, source: str) -> StartedProcess:
    """Start `study run` whose workers find a module before the real one."""
    folder = study.folder / "modules"
    folder.mkdir()
    (folder / f"{module}.py").write_text(source)
    path = {"PYTHONPATH": f"{folder}:{ROOT}", "STUCK": str(study.folder)}
    return study.processes.start(*study.arguments("run"), folder=study.folder, environment=path)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_trial_that_kills_its_workers_fails_with_the_signal_and_the_study_goes_on(
    study: SmallStudy,
) -> None:
    study = study.with_settings(search={"budget": {"trials": 3}})
    run = start_run(study, "sitecustomize", CRASH_IN_THE_SECOND_TRIAL)
    assert run.wait(800) == 0, run.said()
    trials = study.trials()
    states = [trial.state for trial in trials]
    assert states == [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE]
    reason = trials[1].user_attrs["reason"]
    assert reason["kind"] == "lost"
    assert "SIGSEGV (a fault in native code)" in reason["message"]
    assert "3 times without a new epoch" in reason["message"]
    with opened(study.url) as handle:
        endings = read_endings(handle.database, [trials[1]._trial_id])[trials[1]._trial_id]
    assert endings == ["lost: SIGSEGV"] * 3 + ["lost"]
    said = [line for line in run.said().splitlines() if "was killed by SIGSEGV" in line]
    assert len(said) == 3 and all("in trial 1 (log: " in line for line in said)
    logs = [path.read_text() for path in (study.runs / "small" / "logs").iterdir()]
    assert sum("Fatal Python error: Segmentation fault" in text for text in logs) == 3


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL], ids=str)
def test_worker_stuck_in_native_code_does_not_outlive_its_launcher(
    study: SmallStudy, number: signal.Signals
) -> None:
    run = start_run(study, "optuna", HOLD_THE_INTERPRETER_LOCK)
    stuck: list[Path] = []
    wait_until(lambda: stuck.extend(study.folder.glob("*.pid")) or stuck, "a worker")
    run.send_signal(number)
    ended = run.wait(60)
    wait_until(lambda: not is_running(int(stuck[0].stem)), "the worker's end")
    assert ended == (-number if number == signal.SIGKILL else INTERRUPTED), run.said()
    assert [trial.state for trial in study.trials()] == [TrialState.WAITING]
