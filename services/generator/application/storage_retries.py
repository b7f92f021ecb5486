"""Retries of storage operations until the store responds."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from common.object_store import ObjectConflict, ObjectMissing, StorageDenied, StorageUnavailable
from services.generator.domain import failures

T = TypeVar("T")
#: First and longest pause in seconds between two attempts.
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0


async def until_stored(work: Callable[[], Awaitable[T]], *, deadline: Callable[[], float], patient: bool) -> T:
    """Repeats an operation while the store is unavailable; returns its result.

    `deadline` returns a moment on the monotonic clock. `patient`: also while the store refuses the credential. Raises
    `StageError`.
    """
    pause = FIRST_PAUSE
    while True:
        try:
            return await work()
        except (StorageUnavailable, ObjectMissing) as error:
            # A missing bucket looks like a missing object, and an operator may still create it.
            if time.monotonic() + pause > deadline():
                raise failures.storage_unavailable() from error
        except StorageDenied as error:
            if not patient or time.monotonic() + pause > deadline():
                raise failures.storage_denied() from error
        except ObjectConflict as error:
            raise failures.staging_differs() from error
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
