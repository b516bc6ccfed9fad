"""What `study tensorboard` becomes; in a browser: tests/end_to_end."""

import subprocess
import sys
from pathlib import Path

import pytest

from dashboards.errors import DashboardError
from dashboards.tensorboard_server import serve_tensorboard
from study.cli import main

ROOT = Path(__file__).parents[2]
REFUSED = """
from pathlib import Path
from dashboards.tensorboard_server import serve_tensorboard

serve_tensorboard(Path(), host="127.0.0.1", port=99999)
"""


def test_serve_tensorboard_of_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DashboardError, match="nowhere does not: start a worker first"):
        serve_tensorboard(tmp_path / "nowhere", host="127.0.0.1", port=6006)


def test_tensorboard_that_others_reach_is_said_to_have_no_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for host, is_warned in (("0.0.0.0", True), ("localhost", False)):
        asked = ["tensorboard", "--all", "--runs", str(tmp_path / "none"), "--host", host]
        monkeypatch.setattr(sys, "argv", ["study", *asked])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        assert ("no login" in capsys.readouterr().out) == is_warned


def test_refused_port_is_the_exit_code_of_the_process() -> None:
    ended = subprocess.run([sys.executable, "-c", REFUSED], cwd=ROOT, capture_output=True)
    assert ended.returncode != 0 and b"99999" in ended.stderr
