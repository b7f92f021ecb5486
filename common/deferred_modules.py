"""Parts of libraries that are loaded when they are first used: they take memory, and most processes never use them.

Each is imported by a library's own start, for what few of its users need: `import httpx` for example loads all of its
command line, and with it `rich` and `pygments`. Python 3.15 has `lazy import` for this.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module, metadata
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from threading import RLock
from types import ModuleType
from typing import Any


def _call(module: str, name: str, *arguments: Any, **options: Any) -> Any:
    """Calls a function of a module that was deferred."""
    return getattr(sys.modules[module], name)(*arguments, **options)


#: Modules that are loaded when an attribute of theirs is first read, with the attributes that are known before.
DEFERRED: Mapping[str, Mapping[str, Callable[[], object]]] = {
    # Sign with the key of a service account, by `cryptography`.
    "google.auth.crypt": {},
    "google.auth.iam": {},
    "google.auth.jwt": {},
    # Guesses how text is encoded of which the response does not say it.
    "charset_normalizer": {"__version__": lambda: metadata.version("charset_normalizer")},
    # Attributes of processes, for a detector of OpenTelemetry.
    "psutil": {},
    # Descriptors as messages, for reflection.
    "google.protobuf.descriptor_pb2": {},
    # Other drivers than ours.
    "sqlalchemy.dialects.postgresql.asyncpg": {},
    "sqlalchemy.dialects.postgresql.pg8000": {},
    "sqlalchemy.dialects.postgresql.psycopg2cffi": {},
    # The command line, which loads `click` and `multiprocessing`.
    "uvicorn.main": {
        "Server": lambda: import_module("uvicorn.server").Server,
        "main": lambda: partial(_call, "uvicorn.main", "main"),
        "run": lambda: partial(_call, "uvicorn.main", "run"),
    },
}
#: Modules that libraries do without: here the command line of httpx, which loads `rich` and `pygments`.
ABSENT = ("httpx._main",)
#: Attributes that the import system reads and sets.
_OF_IMPORTS = frozenset({"__class__", "__dict__", "__doc__", "__name__", "__package__", "__spec__", "__loader__",
                         "__path__", "__file__", "__cached__"})  # fmt: skip
#: One for all modules: a thread waits until another has loaded the module that it reads.
_LOCK = RLock()


def install() -> None:
    """Has the modules of `DEFERRED` loaded at their first use, and those of `ABSENT` never; repeating does nothing."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    for name in ABSENT:
        # An import of such a name raises `ModuleNotFoundError`.
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in DEFERRED:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _DeferringLoader(spec.loader)
        return spec


class _DeferringLoader(Loader):
    """Makes modules that execute their code when an attribute is first read."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._is_loading = False

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _DeferredModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        for name, value in DEFERRED[module.__name__].items():
            setattr(module, name, value())

    def load(self, module: ModuleType) -> None:
        """Executes the module's code, once. Raises what the code raises; the next use then tries again."""
        if self._is_loading:
            return
        self._is_loading = True
        try:
            self._loader.exec_module(module)
        finally:
            self._is_loading = False
        module.__loader__ = object.__getattribute__(module, "__spec__").loader = self._loader
        module.__class__ = ModuleType


class _DeferredModule(ModuleType):
    def __getattribute__(self, name: str) -> Any:
        known = object.__getattribute__(self, "__dict__")
        if name in _OF_IMPORTS or name in DEFERRED[known["__name__"]]:
            return object.__getattribute__(self, name)
        with _LOCK:
            loader = known["__spec__"].loader
            if isinstance(loader, _DeferringLoader):
                loader.load(self)
            return object.__getattribute__(self, name)
