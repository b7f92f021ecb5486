"""Parts of libraries are loaded at their first use, once, and no process loads what it never uses."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import httpx
import pytest
import uvicorn
import uvicorn.server

from common import deferred_modules
from tests.support.patience import PATIENCE

NAME = "deferred_for_a_test"
#: What no service imports at its start: command lines, what signs and decodes, what only few settings need.
UNUSED = {
    "alembic", "boto3", "charset_normalizer.api", "click", "cryptography", "google.auth.crypt.rsa", "jwt",
    "numpy", "opentelemetry.exporter", "PIL", "psutil._common", "pygments", "rich",
    "sqlalchemy.orm", "torch",
}  # fmt: skip
#: What single services do without beside that.
UNUSED_BY = {
    "gateway": {"nats", "requests", "sqlalchemy"},
    "services.job": {"fastapi", "httpx", "requests", "starlette"},
    "services.generator": {"fastapi", "sqlalchemy", "starlette"},
    "services.uploader": {"fastapi", "httpx", "pydantic", "sqlalchemy", "starlette"},
    "services.notifier": {"requests"},
}
#: Private memory of a process that has imported a service, in KiB; of the largest it is 51 MiB.
MOST = 60 * 1024
IMPORTED = """
import importlib, sys
importlib.import_module(sys.argv[1] + ".__main__")
deferred = {name for name, module in sys.modules.items() if type(module).__name__ == "_DeferredModule"}
print(*(name for name, module in sys.modules.items() if module is not None and name not in deferred))
with open("/proc/self/smaps_rollup") as file:
    print(sum(int(line.split()[1]) for line in file if line.startswith("Private_")))
"""


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a module that is deferred."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(deferred_modules, "DEFERRED", {NAME: {"KNOWN": lambda: "before"}})
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    return tmp_path / f"{NAME}.py"


def _imported() -> ModuleType:
    return __import__(NAME)


def test_a_module_is_executed_once_when_an_attribute_is_first_read(source: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    code = f"with open({str(trace)!r}, 'a') as file:\n    file.write('x')\nvalue = 1\nKNOWN = 'after'\n"
    source.write_text(code, encoding="utf-8")

    module = _imported()
    assert module.KNOWN == "before"
    assert not trace.exists()

    assert [module.value, _imported().value, module.KNOWN] == [1, 1, "after"]
    assert trace.read_text(encoding="utf-8") == "x"
    assert type(module) is ModuleType


def test_a_thread_waits_until_another_has_loaded_the_module(source: Path) -> None:
    source.write_text("import time\nfirst = 1\ntime.sleep(0.2)\nsecond = 2\n", encoding="utf-8")
    module = _imported()

    def both(delay: float) -> tuple[int, bool]:
        time.sleep(delay)
        return module.first, hasattr(module, "second")

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(both, (0, 0.1))) == [(1, True)] * 2


def test_an_error_is_raised_by_each_use_until_there_is_none(source: Path) -> None:
    source.write_text("raise ValueError('broken')\n", encoding="utf-8")
    module = _imported()
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            module.value  # noqa: B018

    # Of another size, so that it is not read from the cache.
    source.write_text("value = 1  # mended\n", encoding="utf-8")
    assert module.value == 1
    with pytest.raises(AttributeError, match="missing"):
        module.missing  # noqa: B018


def test_the_libraries_do_without_what_is_deferred_or_absent() -> None:
    assert uvicorn.Server is uvicorn.server.Server
    assert "httpx._main" not in {name for name, module in sys.modules.items() if module is not None}
    assert callable(httpx.main)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("service", UNUSED_BY)
def test_a_service_imports_nothing_that_it_does_not_need(service: str) -> None:
    command = [sys.executable, "-P", "-c", IMPORTED, service]
    done = subprocess.run(
        command, env={"PYTHONPATH": "proto:."}, timeout=PATIENCE, capture_output=True, text=True, check=True
    )
    names, private = done.stdout.splitlines()

    unused = UNUSED | UNUSED_BY[service]
    assert [name for name in names.split() if name in unused or name.partition(".")[0] in unused] == []
    assert int(private) < MOST
