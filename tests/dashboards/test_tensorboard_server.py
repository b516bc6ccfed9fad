"""What `study tensorboard` becomes; in a browser: tests/end_to_end."""

import socket
import sys
from pathlib import Path

import pytest

from dashboards.errors import DashboardError
from dashboards.tensorboard_server import serve_tensorboard
from study.cli import main


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


def test_serve_tensorboard_at_a_foreign_address_or_a_taken_port_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for host, address in (("192.0.2.1", "192.0.2.1"), ("localhost", "127.0.0.1")):
            with pytest.raises(DashboardError, match=f"{address} and {port} cannot be had"):
                serve_tensorboard(tmp_path, host=host, port=port)
