"""How a test waits for what must come.

A busy machine makes everything several times slower and stalls single processes for seconds. A wait that ends at a
signal costs nothing when all is well, so its bound is not a measure of speed: it only ends a test that would hang.
"""

import asyncio

#: Seconds. The `timeout` of pytest is larger than the waits of one test together.
PATIENCE = 240.0


async def pause() -> None:
    """Waits between two checks of a state that gives no signal; long enough to leave the processor to others."""
    await asyncio.sleep(0.02)
