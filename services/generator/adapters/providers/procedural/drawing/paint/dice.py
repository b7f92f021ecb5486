"""Random numbers that depend on nothing but the words in their request."""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
T = TypeVar("T")


class Dice:
    """A stream of random numbers made from a key: equal keys give equal numbers on every machine."""

    def __init__(self, *key: str | int) -> None:
        text = "\x1f".join(f"{type(part).__name__}:{part}" for part in key)
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        self._generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))

    def between(self, low: float, high: float) -> float:
        """A number in low..high."""
        return low + (high - low) * float(self._generator.random())

    def whole(self, low: int, high: int) -> int:
        """A whole number in low..high, both included."""
        return low + int(self._generator.random() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """Returns True with this probability (0..1)."""
        return float(self._generator.random()) < probability

    def pick(self, choices: Sequence[T]) -> T:
        """One of the choices."""
        return choices[self.whole(0, len(choices) - 1)]

    def field(self, height: int, width: int) -> Field:
        """An array of numbers in 0..1."""
        return self._generator.random((height, width), dtype=np.float32)
