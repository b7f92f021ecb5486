"""Image providers, one file each: what differs is in the file, and nothing of it is known outside.

`build` is the one place that knows which kinds there are.
"""

from collections.abc import Mapping
from concurrent.futures import Executor

from services.generator.adapters.provider_file import ProviderEntry
from services.generator.adapters.providers.procedural import ProceduralProvider
from services.generator.adapters.providers.replicate import ReplicateProvider

Provider = ProceduralProvider | ReplicateProvider


def build(entry: ProviderEntry, *, environ: Mapping[str, str], executor: Executor) -> Provider:
    """The adapter of an entry. Raises `ConfigError`."""
    match entry.kind:
        case "procedural":
            return ProceduralProvider(entry, executor)
        case "replicate":
            return ReplicateProvider(entry, api_key=entry.api_key(environ))
