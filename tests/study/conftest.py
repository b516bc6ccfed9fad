import logging
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from data import image_cache
from study.cli import main
from study.stop_signal import HEARD
from tests.tools.pictures import write_pictures

ROOT = Path(__file__).parents[2]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """An ImageFolder of three classes that a tiny network can tell apart."""
    return write_pictures(tmp_path / "pictures", n_per_class=24)


@pytest.fixture
def tiny_settings(tmp_path: Path, pictures: Path) -> dict[str, object]:
    """A whole configuration that trains a trial in a second."""
    return {
        "name": "tiny",
        "data": {"source": str(pictures), "image_size": 8, "cache": str(tmp_path / "cache")},
        "network": {"widths": [4, 4, 8]},
        "optimization": {"batch_size": 16, "warmup_epochs": 0.5},
        "search": {
            "budget": {"trials": 3},
            "n_epochs": 3,
            "n_startup_trials": 2,
            "pruner": "none",
            "space": {
                "network.blocks": {"low": 1, "high": 2},
                "network.dropout": "default",
                "optimization.learning_rate": "default",
                "optimization.weight_decay": "default",
            },
        },
        "final": {"n_epochs": 4, "image_size": 12, "threads": 1},
        "workers": {"threads": 1},
        "storage": {
            "url": f"sqlite:///{tmp_path}/study.db",
            "runs": str(tmp_path / "runs"),
            "heartbeat_seconds": 0.5,
            "outage_seconds": 5,
            "grace_seconds": 10,
        },
    }


@pytest.fixture
def n_opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how often each split of prepared images is opened."""
    counter: Counter[str] = Counter()
    opening = image_cache._open_split

    def counted(folder: Path, *, split: str, size: int) -> image_cache.Examples:
        counter[split] += 1
        return opening(folder, split=split, size=size)

    monkeypatch.setattr(image_cache, "_open_split", counted)
    return counter


@dataclass(frozen=True)
class Ended:
    """How a command ended that ran in this process."""

    code: int
    out: str
    err: str


Call = Callable[..., Ended]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """Run the command line in this process, for commands that end before they train."""
    handlers = {number: signal.getsignal(number) for number in HEARD}
    level = logging.getLogger("study").level

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["study", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return Ended(end.value.code, said.out, said.err)

    yield run
    signal.set_wakeup_fd(-1)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    logging.getLogger("study").setLevel(level)


@pytest.fixture
def config_file(tiny_settings: dict[str, object], tmp_path: Path) -> str:
    """The whole configuration as a file."""
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_settings))
    return str(path)


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Run the command line in an empty folder of its own."""

    def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("STUDY_")}
        return subprocess.run(
            [sys.executable, "-m", "study", *arguments],
            cwd=tmp_path,
            env=environment | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=240,
            **options,  # type: ignore[call-overload]
        )

    return run
