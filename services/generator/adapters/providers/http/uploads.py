"""Uploads of input images, ahead of the request that buys."""

from collections.abc import Iterator
from contextlib import contextmanager

from services.generator.domain.provider_results import Acceptance, ProviderError


@contextmanager
def nothing_bought() -> Iterator[None]:
    """Whatever fails inside, no picture was asked for yet."""
    try:
        yield
    except ProviderError as error:
        error.acceptance = Acceptance.NOT_ACCEPTED
        raise
