"""Models in addresses: a job's own word becomes a part of a path only where it can be nothing else."""

import re
from urllib.parse import quote

from services.generator.domain.provider_results import Acceptance, ProviderError

#: No dots alone, no query, no escape: what a path is resolved by is in no model's name.
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:-]{0,199}")


def path(name: str, model: str, *, parts: range) -> str:
    """The model as a path of so many parts. Raises `ProviderError` where it is none."""
    found = model.split("/")
    if len(found) not in parts or not all(_PART.fullmatch(one) for one in found):
        raise unknown(name, model)
    return "/".join(quote(one, safe="") for one in found)


def unknown(name: str, model: str) -> ProviderError:
    """A model that cannot be one of this provider's; nothing was sent."""
    return ProviderError(
        code="PERMANENT",
        reason="INVALID_INPUT",
        message=f"{model[:100]!r} is not the name of a model at {name}.",
        retryable=False,
        acceptance=Acceptance.NOT_ACCEPTED,
    )
