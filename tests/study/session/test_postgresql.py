import json
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from tests.postgresql import requires_postgresql, running_server
from tests.study.conftest import Command

pytestmark = [pytest.mark.slow, requires_postgresql]


def test_study_on_postgresql_runs_to_its_end_and_tells_no_password(
    command: Command, tiny_settings: dict[str, object], tmp_path: Path
) -> None:
    settings = deepcopy(tiny_settings)
    larger = "search.space.network.dropout.high=0.6"
    with running_server() as url:
        secret = url.replace("tester@", "tester:hunter2@") + "?password=hunter2"
        settings["storage"] |= {"url": secret}  # type: ignore[operator]
        file = tmp_path / "tiny.yaml"
        file.write_text(yaml.safe_dump(settings))
        said = []
        for arguments in (
            ["run", "--config", str(file), "--workers", "2", "--trials", "4"],
            ["final", "--config", str(file)],
            ["status", "--config", str(file), "--json"],
            ["report", "--config", str(file)],
            ["config", "--config", str(file)],
            ["fork", "changed", "--config", str(file), "--name", "tiny", "--set", larger],
        ):
            ended = command(*arguments)
            assert ended.returncode == 0, ended.stderr
            said += [ended.stdout, ended.stderr]
        assert json.loads(said[4])["complete"] == 4
        assert "4 of 4 finished trials are imported" in said[10]
        rejected = command("run", "--config", str(file), "--set", "seed=1")
        assert rejected.returncode == 2
        assert "tester:***@" in rejected.stderr
        said += [rejected.stderr]
    lost = command("status", "--config", str(file))
    assert lost.returncode == 2
    assert len(lost.stderr.strip().splitlines()) == 1
    said += [lost.stderr]
    file.unlink()
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 20
    assert not any(b"hunter2" in content for content in written)
    assert not any("hunter2" in text for text in said)
