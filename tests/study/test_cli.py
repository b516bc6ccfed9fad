import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import click
import pytest
from PIL import Image

from model.export import load_config
from study.cli import app
from study.commands import GROUPS, HELP
from study.commands.search.local_run import n_trials
from study.session.versions import describe_versions
from tests.study.conftest import ROOT, Call, Command

STUDY = (ROOT / "study" / "README.md").read_text()
RUN_ALL = """
import json, sys
from study.cli import main
ends = []
for sys.argv in json.loads(sys.argv[1]):
    try:
        main()
    except SystemExit as end:
        ends.append([end.code, "torch" in sys.modules, "datasets" in sys.modules])
print(json.dumps(ends))
"""


def run_in_one_process(folder: Path, *commands: list[str]) -> tuple[list[list[object]], str]:
    """Return each exit code, whether torch and datasets were imported by then; and the errors."""
    ended = subprocess.run(
        [sys.executable, "-c", RUN_ALL, json.dumps([["study", *each] for each in commands])],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    ends: list[list[object]] = json.loads(ended.stdout.splitlines()[-1])
    return ends, ended.stderr


def with_config(arguments: list[str], config_file: str) -> list[str]:
    """Return the arguments with `CONFIG` as the option that reads the file."""
    if "CONFIG" not in arguments:
        return arguments
    index = arguments.index("CONFIG")
    return [*arguments[:index], "--config", config_file, *arguments[index + 1 :]]


def two_examples(pictures: Path) -> None:
    for label in pictures.iterdir():
        for path in sorted(label.iterdir())[2:]:
            path.unlink()


def truncated(pictures: Path) -> None:
    path = pictures / "rows" / "3.png"
    path.write_bytes(path.read_bytes()[:60])


def unwritable(pictures: Path) -> None:
    (pictures.parent / "wall").write_text("no folder")


def nothing(_pictures: Path) -> None:
    pass


REJECTIONS = [
    (["run", "--preset", "quickstrat"], nothing, "did you mean quickstart?"),
    (["init", "--set", "search.n_epoch=3"], nothing, "did you mean search.n_epochs?"),
    (["init", "--set", "search.n_epochs=many"], nothing, "valid integer"),
    (["init", "--set", "network.dropout=2"], nothing, "less than 1, got 2"),
    (["init", "--config", "none.yaml"], nothing, "--config none.yaml cannot be read"),
    (["init", "--trials", "0"], nothing, "search.budget.trials"),
    (["run", "--workers", "many"], nothing, "n_workers: must be auto or a whole number from 1"),
    (["run", "--workers-per-gpu", "0"], nothing, "workers.per_gpu"),
    (["run", "CONFIG", "--workers", "auto", "--device", "cpu"], nothing, "add --workers N"),
    (["slurm-script", "--storage", "sqlite:///none.db"], nothing, "study init"),
    (["slurm-script", "--time", "4h"], nothing, "--time must be a time limit of Slurm"),
    (["init", "--trials", "many"], nothing, "'many' is not a valid integer"),
    (["init", "--bogus"], nothing, "No such option"),
    (["unknown"], nothing, "No such command"),
    (["status", "--data", "pictures"], nothing, "No such option '--data'"),
    (["worker", "--trials", "3"], nothing, "No such option '--trials'"),
    (["evaluate", "none.pt", "--name", "tiny"], nothing, "No such option '--name'"),
    (["init", "CONFIG", "--data", "no/such/folder"], nothing, "no/such/folder"),
    (["init", "CONFIG", "--set", "data.n_classes=9"], nothing, "at most 3"),
    (["init", "CONFIG"], two_examples, "a class of train with at least 3"),
    (["init", "CONFIG"], lambda p: (p / "empty").mkdir(), "empty"),
    (["init", "CONFIG"], truncated, "3.png"),
    (["init", "CONFIG", "--runs", "wall"], unwritable, "--runs must be a folder"),
    (["init", "CONFIG", "--runs", "wall/runs"], unwritable, "wall"),
    (["init", "CONFIG", "--set", "data.cache=wall"], unwritable, "cache"),
    (["init", "CONFIG", "--storage", "sqlite:///wall/study.db"], unwritable, "wall"),
    (["init", "CONFIG", "--storage", "mysql://host/db"], nothing, "postgresql+psycopg"),
    (["status", "--storage", "sqlite:///none.db"], nothing, "study init"),
    (["final", "--storage", "sqlite:///none.db"], nothing, "study init"),
    (["replay", "best"], nothing, "TRIAL must be the number of a trial or 'final', got 'best'"),
    (["replay", "0", "--threads", "0"], nothing, "x>=1"),
    (["replay", "0", "--storage", "sqlite:///none.db"], nothing, "study init"),
    (["evaluate", "none.pt"], nothing, "none.pt does not"),
    (["evaluate", "wall"], unwritable, "wall is damaged"),
    (["evaluate", "."], nothing, "'.' is a directory"),
    (["init", "CONFIG"], lambda p: (p / "rows" / "gone.png").symlink_to("nowhere"), "gone.png"),
    (["init", "CONFIG", "--data", "~nosuchuser/x"], nothing, "home folder of a user"),
    (["init", "CONFIG", "--storage", "postgresql+psycopg://a@b:port/c"], nothing, "database URL"),
    (["init", "CONFIG", "--runs", ".", "--name", "study.db"], nothing, "database file"),
]


@pytest.mark.parametrize(
    ("arguments", "spoil", "hint"), REJECTIONS, ids=[f"{a[0]}-{h}" for a, _, h in REJECTIONS]
)
def test_misuse_is_one_line_exit_2_and_changes_nothing(
    tmp_path: Path,
    pictures: Path,
    config_file: str,
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    spoil: Callable[[Path], object],
    hint: str,
) -> None:
    spoil(pictures)
    monkeypatch.chdir(tmp_path)
    before = {path for path in tmp_path.rglob("*") if "cache" not in path.parts}
    ended = call(*with_config(arguments, config_file))
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1), ended
    assert hint in ended.err
    assert {path for path in tmp_path.rglob("*") if "cache" not in path.parts} == before


def test_misuse_is_rejected_before_torch_and_datasets_are_imported(
    tmp_path: Path, pictures: Path, config_file: str
) -> None:
    unwritable(pictures)
    commands = [
        with_config(arguments, config_file)
        for arguments, spoil, _ in REJECTIONS
        if spoil in (nothing, unwritable)
    ]
    ends, _ = run_in_one_process(tmp_path, *commands)
    assert ends == [[2, False, False]] * len(commands)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["extend"], "extend must have one of --trials, --epochs and --hours, got none: say what"),
        (["extend", "--trials", "2", "--hours", "1"], "got --trials and --hours: say what to add"),
        (["extend", "--trials", "0"], "--trials must be above 0, got 0: say how many to add"),
        (["dashboard", "--port", "99999"], "0<=x<=65535"),
        (["metrics", "--port", "65536"], "0<=x<=65535"),
        (["tensorboard", "--port", "-1"], "0<=x<=65535"),
    ],
)
def test_values_out_of_range_are_rejected_in_one_line(
    call: Call, arguments: list[str], hint: str
) -> None:
    ended = call(*arguments)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert hint in ended.err


def test_removed_current_folder_is_named_in_one_line(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    ended = call("status")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        "study: the current folder must exist, it was removed: change to another with cd\n"
    )


@pytest.mark.parametrize(("number", "words"), [(1, "1 trial"), (2, "2 trials")])
def test_trials_are_counted_in_words(number: int, words: str) -> None:
    assert n_trials(number) == words


@pytest.mark.parametrize("options", [[], ["--writable"], ["--host", "0.0.0.0"]])
def test_dashboard_of_a_missing_database_is_rejected_and_makes_none(
    call: Call, tmp_path: Path, options: list[str]
) -> None:
    ended = call("dashboard", "--storage", f"sqlite:///{tmp_path}/none.db", *options)
    assert ended.code == 2 and len(ended.err.splitlines()) == 1
    assert "storage.url must name a database with a study" in ended.err
    assert not any(tmp_path.glob("none*"))


def test_a_worker_per_gpu_without_a_gpu_is_rejected_before_anything_is_stored(
    config_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    command = ["run", "--config", config_file, "--workers", "auto"]
    ends, errors = run_in_one_process(tmp_path, command)
    assert ends == [[2, False, False]]
    assert errors.startswith("study: workers.n_workers auto needs a GPU, none is visible")
    assert errors.count("\n") == 1
    assert not (tmp_path / "cache").exists() and not (tmp_path / "study.db").exists()


def test_existing_study_with_another_configuration_is_rejected(
    call: Call, config_file: str, tmp_path: Path
) -> None:
    assert call("init", "--config", config_file).code == 0
    database = (tmp_path / "study.db").read_bytes()
    ended = call("run", "--config", config_file, "--set", "seed=7")
    assert ended.code == 2
    assert "seed is 42 there, 7 here" in ended.err
    ended = call("run", "--config", config_file, "--trials", "5")
    assert ended.code == 2
    assert "study extend --name tiny --trials 2" in ended.err
    assert (tmp_path / "study.db").read_bytes() == database


def test_light_commands_leave_torch_and_datasets_unimported(
    call: Call, config_file: str, tmp_path: Path
) -> None:
    assert call("init", "--config", config_file).code == 0
    place = ["--storage", f"sqlite:///{tmp_path}/study.db", "--runs", str(tmp_path / "runs")]
    light = [["config"], ["status", *place], ["trials", *place], ["doctor", *place], ["--help"]]
    ends, _ = run_in_one_process(tmp_path, *light)
    assert ends == [[0, False, False]] * len(light)


def test_help_says_of_each_command_a_whole_sentence() -> None:
    with click.Context(app, terminal_width=80) as context:
        listed = app.get_help(context).partition(f"{next(iter(GROUPS))}:\n")[2]
    assert "..." not in listed
    for name, found in app.commands.items():
        assert found.help is not None
        assert re.search(rf"^  {name} +{re.escape(found.help)}$", listed, re.MULTILINE)
    titles = re.findall(r"^(\S.*):$", listed, re.MULTILINE)
    assert titles == list(GROUPS)[1:] and set(HELP) == set(app.commands)


def test_version_names_the_code_and_what_decides_results_without_importing_it(
    tmp_path: Path,
) -> None:
    ends, _ = run_in_one_process(tmp_path, ["--version"])
    assert ends == [[0, False, False]]
    code, others = describe_versions().splitlines()
    assert re.fullmatch(r"study \d+\.\d+\.\d+, revision ([0-9a-f]{40}\+?|unknown: .+)", code)
    for name in ("torch", "optuna"):
        assert f"{name} {metadata.version(name)}" in others


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("study st", {"status"}),
        ("study ex", {"extend", "export", "export-trials"}),
        ("study --ver", {"--version"}),
        ("study status --w", {"--watch"}),
        ("study grid --st", {"--storage", "--stop-after"}),
    ],
)
def test_shell_completes_commands_and_options(
    call: Call, monkeypatch: pytest.MonkeyPatch, shell: str, typed: str, offered: set[str]
) -> None:
    monkeypatch.setenv("_STUDY_COMPLETE", f"{shell}_complete")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
    ended = call()
    lines = ended.out.splitlines()
    names = [line.removeprefix("plain,") for line in lines] if shell == "bash" else lines[1::3]
    assert (ended.code, set(names)) == (0, offered)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_a_command_after_what_the_document_says(tmp_path: Path) -> None:
    (line,) = re.findall(r'^    (eval "\$\(_STUDY_COMPLETE=bash_source study\)")', STUDY, re.M)
    script = tmp_path / "complete.sh"
    script.write_text(
        f"{line}\nCOMP_WORDS=(study sani) COMP_CWORD=1\n"
        '$(complete -p study | sed "s/.*-F \\([^ ]*\\).*/\\1/") study sani study\n'
        'echo "${COMPREPLY[@]}"\n'
    )
    ended = subprocess.run(["bash", str(script)], capture_output=True, text=True, timeout=60)
    assert (ended.stdout, ended.stderr) == ("sanity\n", "")


def test_help_takes_little_longer_than_to_start_python_with_click() -> None:
    def seconds(*arguments: str) -> float:
        start = time.monotonic()
        subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True)
        return time.monotonic() - start

    # By turns, for a machine is not equally fast at all times: 0.10 s and 0.05 s on an idle one.
    both = [(seconds("-m", "study", "--help"), seconds("-c", "import click")) for _ in range(3)]
    of_help, of_click = map(min, zip(*both, strict=True))
    assert of_help < 10 * of_click


def test_config_prints_what_config_reads(command: Command, tmp_path: Path) -> None:
    printed = command("config", "--preset", "tiny-imagenet", "--set", "seed=5").stdout
    (tmp_path / "copy.yaml").write_text(printed)
    assert command("config", "--config", "copy.yaml").stdout == printed


@pytest.mark.slow
def test_whole_path_by_commands_with_two_workers(
    command: Command, config_file: str, tmp_path: Path
) -> None:
    ended = command("run", "--config", config_file, "--workers", "2")
    assert ended.returncode == 0, ended.stderr
    assert "3/3 done" in ended.stdout
    assert "\x1b" not in ended.stdout
    place = ["--storage", f"sqlite:///{tmp_path}/study.db", "--runs", str(tmp_path / "runs")]
    status = json.loads(command("status", *place, "--json").stdout)
    counts = {"waiting": 0, "running": 0, "complete": 3, "pruned": 0, "failed": 0, "budget": 3}
    assert {key: status[key] for key in counts} == counts
    rows = json.loads(command("trials", *place, "--json").stdout)
    best = json.loads(command("best", *place, "--json").stdout)
    assert best["value"] == max(row["value"] for row in rows)

    ended = command("run", "--config", config_file, "--workers", "2")
    assert ended.returncode == 0
    assert "the budget of 3 trials is done" in ended.stdout

    ended = command("final", *place)
    assert ended.returncode == 0, ended.stderr
    assert "test: macro-F1" in ended.stdout and "top-5" not in ended.stdout  # of three classes
    for file in ("best.pt", "mistakes.json", "model"):
        assert f": {tmp_path}/runs/tiny/final/{file}\n" in ended.stdout
    assert "the training is over: evaluating" in ended.stdout
    metrics = json.loads((tmp_path / "runs/tiny/final/metrics.json").read_text())
    model = tmp_path / "runs/tiny/final/model"
    assert load_config(model).metrics["test"] == metrics["test"]
    shutil.rmtree(model)
    again = command("final", *place)
    assert again.returncode == 0, again.stderr
    assert "was tested before; its result stands" in again.stdout
    assert load_config(model).metrics["test"] == metrics["test"]
    evaluated = command("evaluate", str(tmp_path / "runs/tiny/final/best.pt"), "--json")
    assert json.loads(evaluated.stdout) == pytest.approx(metrics["validation"])
    assert command("report", *place).returncode == 0
    assert (tmp_path / "runs/tiny/report.html").stat().st_size > 1000


@pytest.fixture
def long_run(config_file: str, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A `study run` of two workers in the middle of their trials."""
    arguments = ["run", "--config", config_file, "--workers", "2", "--trials", "2"]
    running = subprocess.Popen(
        [sys.executable, "-m", "study", *arguments, "--set", "search.n_epochs=2000"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    logs = tmp_path / "runs/tiny/logs"

    def n_training() -> int:
        return sum("epoch 2/" in log.read_text() for log in logs.glob("*.log"))

    wait_until(lambda: n_training() == 2)
    yield running
    running.kill()
    running.communicate()


def wait_until(condition: Callable[[], bool], *, seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.1)


@pytest.mark.slow
def test_interrupted_run_stops_cleanly_and_releases_its_trials(
    command: Command, long_run: subprocess.Popen[str], tmp_path: Path
) -> None:
    start = time.monotonic()
    long_run.send_signal(signal.SIGINT)
    _, errors = long_run.communicate(timeout=30)
    assert time.monotonic() - start < 20
    assert long_run.returncode == 130
    assert "2 trials to go: the same command continues" in errors
    assert trial_states(command, tmp_path) == (2, 0)


@pytest.mark.slow
def test_workers_of_a_killed_run_stop_and_release_their_trials(
    command: Command, long_run: subprocess.Popen[str], tmp_path: Path
) -> None:
    long_run.send_signal(signal.SIGKILL)
    long_run.communicate(timeout=30)
    wait_until(lambda: trial_states(command, tmp_path) == (2, 0), seconds=60)


def trial_states(command: Command, tmp_path: Path) -> tuple[int, int]:
    """Return the numbers of waiting and of running trials."""
    place = ["--storage", f"sqlite:///{tmp_path}/study.db", "--runs", str(tmp_path / "runs")]
    status = json.loads(command("status", *place, "--json").stdout)
    return status["waiting"], status["running"]


GPU_COMMANDS = [["run"], ["grid", "--axis", "network.dropout=0.1,0.2"], ["compare"]]


@pytest.mark.parametrize("words", GPU_COMMANDS, ids=[words[0] for words in GPU_COMMANDS])
def test_gpu_that_is_not_there_is_rejected_before_the_study_exists(
    call: Call, config_file: str, tmp_path: Path, words: list[str]
) -> None:
    for given in (["--device", "cuda:99"], ["--set", "execution.device=cuda:99"]):
        ended = call(*words, "--config", config_file, *given)
        assert ended.code == 2 and ended.out == ""
        assert re.fullmatch(
            r"study: execution\.device must exist on this machine, got 'cuda:99', .* visible "
            r"\(CUDA_VISIBLE_DEVICES .*\): use .*\n",
            ended.err,
        )
    assert not {"runs", "study.db", "cache"} & {path.name for path in tmp_path.iterdir()}


UNNORMALISED = """
from data.batches import EvaluationBatches
build = EvaluationBatches.__init__
def build_unnormalised(self, examples, **options):
    build(self, examples, **options | {"mean": (0, 0, 0), "std": (1, 1, 1)})
EvaluationBatches.__init__ = build_unnormalised
"""


@pytest.mark.slow
def test_broken_pipeline_is_rejected_before_the_first_trial(
    command: Command, config_file: str, tmp_path: Path
) -> None:
    breaking = tmp_path / "breaking"
    breaking.mkdir()
    (breaking / "sitecustomize.py").write_text(UNNORMALISED)
    ended = subprocess.run(
        [sys.executable, "-m", "study", "run", "--config", config_file, "--workers", "1"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{breaking}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 1
    (line,) = ended.stderr.strip().splitlines()
    assert (
        "a worker failed: 1 of 8 checks failed, first evaluation images: expected mean 0" in line
    )
    assert "`study run --skip-checks --name tiny" in line and "` continues" in line
    assert trial_states(command, tmp_path) == (3, 0)


@pytest.mark.slow
def test_workers_import_no_library_from_the_folder_where_they_start(
    config_file: str, tmp_path: Path
) -> None:
    (tmp_path / "optuna.py").write_text("raise SystemExit('not the library')")
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "study", "run", "--config", config_file, "--trials", "1"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr
    assert "1/1 done" in ended.stdout


@pytest.mark.slow
def test_interrupt_while_decoding_stops_at_once(config_file: str, tmp_path: Path) -> None:
    arguments = ["run", "--preset", "quickstart"]
    running = subprocess.Popen(
        [sys.executable, "-m", "study", *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 60
    while not list(tmp_path.glob(".cache/images/.images-*")) and time.monotonic() < until:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=30)
    assert running.returncode == 130, errors
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_image_folder_of_every_kind_trains_and_a_broken_file_is_named_or_dropped(
    command: Command, config_file: str, tmp_path: Path
) -> None:
    folder = tmp_path / "every kind"
    for label in ("left", "right"):
        (folder / label).mkdir(parents=True)
        for index, mode in enumerate(["RGB", "L", "P", "RGBA", "CMYK", "LA"] * 4):
            picture = Image.new("RGB", (20 + index, 30 - index), (index * 9, 50, 200))
            suffix = "jpg" if mode in ("RGB", "CMYK", "L") else "png"
            picture.convert(mode).save(folder / label / f"{index}.{suffix}")
    arguments = ["--config", config_file, "--data", str(folder), "--trials", "1"]
    assert command("init", *arguments).returncode == 0

    broken = folder / "left" / "0.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    again = [*arguments, "--name", "again"]
    ended = command("init", *again)
    assert ended.returncode == 2
    assert "0.jpg" in ended.stderr
    ended = command("run", *again, "--set", "data.broken_images=drop")
    assert ended.returncode == 0, ended.stderr
    assert "1 broken image was dropped" in ended.stdout
    assert "1/1 done (1 complete)" in ended.stdout


def test_final_says_at_a_terminal_what_it_does_before_it_imports_anything(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = ["--storage", f"sqlite:///{tmp_path}/none.db"]
    assert "opening" not in call("final", *place).err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert call("final", *place).err.startswith("opening the study ...\nstudy: ")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert call("final", "--help").err == ""
