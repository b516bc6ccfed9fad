"""TensorBoard behind its guard; in a browser: tests/end_to_end."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPCookieProcessor, Request, build_opener

import pytest

from dashboards.errors import DashboardError
from dashboards.servers.tensorboard import serve_tensorboard
from dashboards.tensorboard.writer import TensorBoardLog
from tests.dashboards.conftest import build_record
from tests.tools.forked_server import forked
from tests.tools.processes import wait_until

opener = build_opener(HTTPCookieProcessor())


@contextmanager
def served(folder: Path, host: str) -> Iterator[str]:
    """Yield the address that is printed, at 127.0.0.1."""
    log = TensorBoardLog(folder / "run", next_epoch=1, n_classes=10)
    log.write(build_record(1))
    log.close()
    with forked(partial(serve_tensorboard, folder, host=host, port=0)) as printed:
        printed_url = urlsplit(printed.readline().split()[1])
        yield printed_url._replace(netloc=f"127.0.0.1:{printed_url.port}").geturl()


def status(address: str, *, body: bytes | None = None, **headers: str) -> int:
    try:
        with opener.open(Request(address, body, headers)) as answer:
            return int(answer.status)
    except HTTPError as rejection:
        rejection.close()
        return rejection.code


def test_tensorboard_on_loopback_answers_to_names_of_this_machine_only(tmp_path: Path) -> None:
    with served(tmp_path, "localhost") as address:
        port = urlsplit(address).port
        for path in ("", "index.js", "data/environment", "data/plugins_listing", "none"):
            assert status(address + path, Host=f"evil.example:{port}") == 403, path
            known = 404 if path == "none" else 200
            assert status(address + path, Host=f"localhost:{port}") == known, path
        with opener.open(f"{address}data/environment") as answer:
            assert json.load(answer)["data_location"] == str(tmp_path)


def test_tensorboard_beyond_loopback_makes_a_token_up(tmp_path: Path) -> None:
    with served(tmp_path, "0.0.0.0") as address:
        root = address.partition("?")[0]
        series = f"{root}data/plugin/timeseries/timeSeries"
        for path in ("", "index.js", "data/runs"):
            assert status(root + path) == 401, path
        assert status(series, body=b"requests=[]") == 401
        assert status(address) == 200
        assert status(root) == 200  # by the cookie
        assert status(series, body=b"requests=[]") == 200


def test_serve_tensorboard_of_missing_folder_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(DashboardError, match="nowhere does not: start a worker first"):
        serve_tensorboard(tmp_path / "nowhere", host="127.0.0.1", port=6006)


def test_serve_tensorboard_at_a_foreign_address_or_taken_port_is_rejected(
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for host, address in (("192.0.2.1", "192.0.2.1"), ("localhost", "127.0.0.1")):
            with pytest.raises(DashboardError, match=f"{address} and {port} cannot be had"):
                serve_tensorboard(tmp_path, host=host, port=port)


def test_runs_are_named_and_nothing_is_left_behind(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = TensorBoardLog(tmp_path / "trials" / "00000" / "tensorboard", next_epoch=1, n_classes=10)
    log.write(build_record(1))
    log.close()
    names = {tmp_path / "trials" / "00000" / "tensorboard": "000 lr=0.1"}
    serve = partial(serve_tensorboard, tmp_path, host="localhost", port=0, name_runs=lambda: names)
    with forked(serve) as printed:
        address = printed.readline().split()[1]
        with opener.open(f"{address}data/environment") as answer:
            links = Path(json.load(answer)["data_location"])
        wait_until(lambda: "000 lr=0.1" in read_runs(address), "the run")
        assert links.is_dir()
    assert not links.exists() and "load_fast" not in capfd.readouterr().err


def read_runs(address: str) -> list[str]:
    with opener.open(f"{address}data/runs") as answer:
        return list(json.load(answer))
