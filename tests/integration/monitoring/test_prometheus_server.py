"""The Prometheus of the tests: it scrapes, answers queries and evaluates rules."""

import socket
from pathlib import Path

import pytest
import yaml

from tests.support.monitoring.prometheus_server import prometheus_server

RULE = {
    "alert": "TargetDown",
    "expr": "up == 0",
    "labels": {"severity": "page"},
    "annotations": {"summary": "{{ $labels.instance }} is down"},
}


@pytest.fixture
def closed_address() -> str:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{held.getsockname()[1]}"


def test_it_scrapes_and_queries(tmp_path: Path) -> None:
    with (
        prometheus_server(tmp_path / "scraped", {}) as scraped,
        prometheus_server(tmp_path / "own", {"other": [scraped.http.base_url.netloc.decode()]}) as own,
    ):
        [sample] = own.wait(lambda server: server.query('up{job="other"} == 1'), what="the other server")

        assert sample.value == 1
        assert sample.labels["instance"] == scraped.http.base_url.netloc.decode()
        assert "prometheus_build_info" in own.label_values("__name__")
        assert own.metadata()["prometheus_build_info"][0]["type"] == "gauge"
        assert own.query("scalar(vector(2))")[0].value == 2
        with pytest.raises(AssertionError, match="parse error"):
            own.query("sum(")


def test_a_rule_fires(tmp_path: Path, closed_address: str) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": [RULE]}]}), encoding="utf-8")
    with prometheus_server(tmp_path / "own", {"gone": [closed_address]}, rules=[rules]) as own:
        [alert] = own.wait(lambda server: server.alerts(), what="the alert")

        assert alert["labels"]["alertname"] == "TargetDown"
        assert alert["annotations"]["summary"] == f"{closed_address} is down"
        assert own.targets()[0]["health"] == "down"
