"""Fixtures on real servers: each is started once per run, by the first test that needs it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support.generator import decoder
from tests.support.servers import embedded_servers

# A busy machine is no finding: no example has a time limit of its own, nor has drawing all of them.
hypothesis.settings.register_profile(
    "calotype", deadline=None, print_blob=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("calotype")

#: Files that take the longest, the slowest first: a file runs on one worker, and the last to start may end alone.
STARTED_FIRST = (
    "tests/e2e/test_openapi_holds.py",
    "tests/integration/gateway/test_process.py",
    "tests/integration/uploader/test_process.py",
    "tests/integration/gateway/test_typescript.py",
)
ROOT = Path(__file__).parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Moves the tests of the files that take the longest to the front; all else stays in order."""
    places = {ROOT / path: place for place, path in enumerate(STARTED_FIRST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(scope="session", autouse=True)
def decoding_processes() -> Iterator[None]:
    """Processes that decode end with the run."""
    yield
    decoder.close()


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A folder with a short path for the servers of this run."""
    with tempfile.TemporaryDirectory(prefix="calotype-test-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def postgres(server_folder: Path) -> Iterator[embedded_servers.Server]:
    """PostgreSQL, for the whole run."""
    with embedded_servers.postgres_server(server_folder / "postgres") as server:
        yield server


@pytest.fixture(scope="session")
def template(postgres: embedded_servers.Server) -> str:
    """The migrated database that each test gets a copy of."""
    return embedded_servers.make_template(postgres.url)


@pytest.fixture
def database_url(postgres: embedded_servers.Server, template: str) -> Iterator[str]:
    """A database of the test's own, with the newest schema."""
    url = embedded_servers.copy_database(postgres.url, template)
    yield url
    embedded_servers.drop_database(postgres.url, url)


@pytest.fixture
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[embedded_servers.Server]:
    """A broker of the test's own."""
    with embedded_servers.nats_server(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
def nats_url(nats: embedded_servers.Server) -> str:
    """Where the test's broker is."""
    return nats.url


@pytest.fixture(scope="session")
def storage(server_folder: Path) -> Iterator[embedded_servers.Server]:
    """Object storage, for the whole run."""
    with embedded_servers.storage_server(server_folder / "storage") as server:
        yield server


@pytest.fixture
def storage_url(storage: embedded_servers.Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where object storage is; clients of this process find it too, and are the generator there."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage.url)
    monkeypatch.setenv("STORAGE_EMULATOR_TOKEN", embedded_servers.STORAGE_TOKENS["generator"])
    return storage.url
