"""A real Prometheus that scrapes services of a test and evaluates alert rules."""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import yaml

from cli.stack.child import Child, Program
from tests.support.patience import PATIENCE
from tests.support.required_tools import need
from tests.support.servers.reaper import reaped

INSTALL = "apt-get install prometheus"
#: Seconds between two scrapes, and between two evaluations of the rules.
INTERVAL = 1
_ADDRESS = re.compile(r'msg="Listening on" address=([0-9.:]+)')
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class QueriedSample:
    """One value of an instant query."""

    #: Labels, with `__name__` where the query keeps it.
    labels: Mapping[str, str]
    #: The value; may be NaN or infinite.
    value: float


@dataclass(frozen=True)
class PrometheusServer:
    """A Prometheus that runs."""

    #: Its HTTP API.
    http: httpx.Client
    #: File of the targets that were added while it runs.
    added: Path

    @property
    def is_ready(self) -> bool:
        """Whether it answers queries; it listens before that, and then answers with 503."""
        return self.http.get("/-/ready").status_code == 200

    def query(self, expression: str) -> list[QueriedSample]:
        """Returns the result of an instant query; a scalar is one sample without labels."""
        data = self._get("query", query=expression)
        if data["resultType"] == "scalar":
            return [QueriedSample(labels={}, value=float(data["result"][1]))]
        return [QueriedSample(labels=found["metric"], value=float(found["value"][1])) for found in data["result"]]

    def exemplars(self, expression: str, *, seconds: float = 600.0) -> list[dict[str, Any]]:
        """Returns the exemplars of a query's series in the last `seconds`."""
        now = time.time()
        found = self._get("query_exemplars", query=expression, start=str(now - seconds), end=str(now))
        return [exemplar for series in found for exemplar in series["exemplars"]]

    def label_values(self, label: str) -> set[str]:
        """Returns the values of a label in all series; `__name__` has the names of metrics."""
        return set(self._get(f"label/{label}/values"))

    def metadata(self) -> dict[str, Any]:
        """Returns type and help of each metric by name, as the scraped services declare them."""
        return dict(self._get("metadata"))

    def alerts(self, *, state: str = "firing") -> list[dict[str, Any]]:
        """Returns the alerts in this state, each with `labels` and `annotations`."""
        return [alert for alert in self._get("alerts")["alerts"] if alert["state"] == state]

    def targets(self) -> list[dict[str, Any]]:
        """Returns what is scraped, with `scrapeUrl`, `health` and `lastError`."""
        return list(self._get("targets")["activeTargets"])

    def add(self, job: str, target: str) -> None:
        """Scrapes `host:port` too, under this job's name; it replaces one that was added before."""
        fresh = self.added.with_suffix(".new")
        fresh.write_text(yaml.safe_dump([{"targets": [target], "labels": {"job": job}}]), encoding="utf-8")
        fresh.replace(self.added)

    def wait(self, read: Callable[["PrometheusServer"], T], *, what: str, seconds: float = PATIENCE) -> T:
        """Returns what `read` returns as soon as that is true; asserts that this happens within `seconds`."""
        deadline = time.monotonic() + seconds
        while not (found := read(self)):
            assert time.monotonic() < deadline, f"Prometheus never saw: {what}"
            time.sleep(0.1)
        return found

    def _get(self, path: str, **parameters: str) -> Any:
        response = self.http.get(f"/api/v1/{path}", params=parameters)
        body = response.json()
        assert body["status"] == "success", f"{path} {parameters}: {body.get('error')}"
        return body["data"]


@contextmanager
def prometheus_server(
    folder: Path, targets: Mapping[str, Sequence[str]], *, rules: Sequence[Path] = ()
) -> Iterator[PrometheusServer]:
    """Runs Prometheus with the `host:port` of each job's processes, and with these rule files."""
    folder.mkdir(parents=True, exist_ok=True)
    config, log, added = folder / "prometheus.yml", folder / "prometheus.log", folder / "added.yml"
    added.write_text("[]\n", encoding="utf-8")
    config.write_text(yaml.safe_dump(_config(targets, rules, added)), encoding="utf-8")
    program = need("prometheus", install=INSTALL)
    command = (
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--web.listen-address=127.0.0.1:0",
        "--enable-feature=exemplar-storage",
        "--storage.tsdb.retention.time=1h",
    )
    child = Child(
        Program(
            name="prometheus",
            command=command,
            environment={},
            log=log,
            is_ready=lambda: _ADDRESS.search(log.read_text(encoding="utf-8")) is not None,
        )
    )
    child.start()
    with reaped(child.pid):
        try:
            child.wait_ready(PATIENCE)
            found = _ADDRESS.search(log.read_text(encoding="utf-8"))
            assert found is not None
            with httpx.Client(base_url=f"http://{found[1]}", timeout=PATIENCE, trust_env=False) as http:
                server = PrometheusServer(http, added)
                server.wait(lambda opened: opened.is_ready, what="that it has loaded its storage and rules")
                yield server
        finally:
            child.stop(PATIENCE)


def _config(targets: Mapping[str, Sequence[str]], rules: Sequence[Path], added: Path) -> dict[str, Any]:
    interval = f"{INTERVAL}s"
    files = {"job_name": "added", "file_sd_configs": [{"files": [str(added)], "refresh_interval": interval}]}
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "rule_files": [str(path.resolve()) for path in rules],
        "scrape_configs": [
            files,
            *(
                {"job_name": name, "static_configs": [{"targets": list(addresses)}]}
                for name, addresses in targets.items()
            ),
        ],
    }
