"""Model names in URLs: a name from a job becomes part of a path only if it cannot change the path's meaning."""

import re
from urllib.parse import quote

from calotype.error_reasons import Code, Reason

from services.generator.domain.provider_results import Acceptance, ProviderError

#: No `.` or `..`, no query, no escape: a model's name has nothing by which a path is resolved.
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:-]{0,199}")


def path(name: str, model: str, *, parts: range) -> str:
    """Returns the model as a path; `parts` are the allowed numbers of parts. Raises `ProviderError`."""
    names = model.split("/")
    if len(names) not in parts or not all(_PART.fullmatch(part) for part in names):
        raise unknown(name, model)
    return "/".join(quote(part, safe="") for part in names)


def unknown(name: str, model: str) -> ProviderError:
    """Returns the error of a name that no model of this provider can have; nothing was sent."""
    return ProviderError(
        code=Code.PERMANENT,
        reason=Reason.INVALID_INPUT,
        message=f"{model[:100]!r} is not the name of a model at {name}.",
        retryable=False,
        acceptance=Acceptance.NOT_ACCEPTED,
    )
