"""The alerts in dashboards/README.md, as Prometheus itself understands them."""

import shutil
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards.servers.prometheus_metrics import METRICS

ROOT = Path(__file__).parents[2]
UP = "study_database_up"
pytestmark = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs Debian's package prometheus (promtool)"
)


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    lines = (ROOT / "dashboards" / "README.md").read_text().splitlines()
    start = lines.index("    groups:")
    block = [lines[start]]
    for line in lines[start + 1 :]:
        if line and not line.startswith("    "):
            break
        block.append(line)
    path = tmp_path / "rules.yaml"
    path.write_text(textwrap.dedent("\n".join(block)))
    return path


def promtool(*arguments: object) -> str:
    ended = subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def series(name: str, values: str, **labels: str) -> dict[str, str]:
    shown = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return {"series": f"{name}{{{shown}}}", "values": values}


def expected(alert: str, at: str, **labels: str) -> dict[str, Any]:
    return {"alertname": alert, "eval_time": at, "exp_alerts": [{"exp_labels": labels}]}


def nothing(alert: str, at: str) -> dict[str, Any]:
    return {"alertname": alert, "eval_time": at, "exp_alerts": []}


def assert_alerts(
    rules: Path, tmp_path: Path, inputs: list[dict[str, str]], alerts: list[dict[str, Any]]
) -> None:
    """Check which alerts fire when; annotations are those of the rules."""
    texts = {
        rule["alert"]: rule["annotations"]
        for group in yaml.safe_load(rules.read_text())["groups"]
        for rule in group["rules"]
    }
    for alert in alerts:
        for firing in alert["exp_alerts"]:
            text = texts[alert["alertname"]]["summary"]
            for key, value in firing["exp_labels"].items():
                text = text.replace(f"{{{{ $labels.{key} }}}}", value)
            firing["exp_annotations"] = {"summary": text}
    case = {"interval": "1m", "input_series": inputs, "alert_rule_test": alerts}
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [rules.name], "tests": [case]}))
    promtool("test", "rules", file)


def test_rules_are_valid_and_query_metrics_that_exist(rules: Path) -> None:
    assert "3 rules found" in promtool("check", "rules", rules)
    names = {*METRICS, UP}
    text = rules.read_text()
    for rule in yaml.safe_load(text)["groups"][0]["rules"]:
        assert any(name in rule["expr"] for name in names)


def test_study_without_new_epochs_is_stalled_while_trials_are_left(
    rules: Path, tmp_path: Path
) -> None:
    place = {"instance": "a:9464", "job": "study"}
    inputs = [
        series("study_recorded_epochs", "0+1x20 20x60", study="pets", **place),
        series("study_trials", "1x80", study="pets", state="running", **place),
        series("study_trials", "0x80", study="pets", state="waiting", **place),
        series("study_recorded_epochs", "0+1x20 20x60", study="done", **place),
        series("study_trials", "0x80", study="done", state="running", **place),
        series("study_trials", "3x80", study="done", state="complete", **place),
        series("study_recorded_epochs", "0+1x80", study="busy", **place),
        series("study_trials", "9x80", study="busy", state="waiting", **place),
    ]
    alerts = [
        nothing("StudyStalled", "20m"),
        nothing("StudyStalled", "45m"),
        expected("StudyStalled", "55m", study="pets", **place),
    ]
    assert_alerts(rules, tmp_path, inputs, alerts)


def test_stale_heartbeat_and_unreachable_database_raise_alerts(
    rules: Path, tmp_path: Path
) -> None:
    trial = {"study": "pets", "trial": "4", "worker": "node1:7"}
    inputs = [
        series("study_heartbeat_age_seconds", "10x10 60+60x20", **trial),
        series(UP, "1x10 0x20"),
    ]
    alerts = [
        nothing("StudyHeartbeatStale", "14m"),
        expected("StudyHeartbeatStale", "18m", **trial),
        nothing("StudyDatabaseDown", "12m"),
        expected("StudyDatabaseDown", "17m"),
    ]
    assert_alerts(rules, tmp_path, inputs, alerts)
