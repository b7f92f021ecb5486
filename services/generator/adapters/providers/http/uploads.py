"""Uploads of input images before the request that may be charged."""

from collections.abc import Iterator
from contextlib import contextmanager

from services.generator.domain.provider_results import Acceptance, ProviderError


@contextmanager
def before_submission() -> Iterator[None]:
    """Marks every `ProviderError` inside as not accepted: no image has been requested yet."""
    try:
        yield
    except ProviderError as error:
        error.acceptance = Acceptance.NOT_ACCEPTED
        raise
