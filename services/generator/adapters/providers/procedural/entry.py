"""Entries of the kind `procedural`."""

from typing import Literal

from services.generator.adapters.providers.entry import Entry, Strict


class NoSettings(Strict):
    """A kind without settings of its own."""


class ProceduralEntry(Entry):
    """Drawn by rules on this machine."""

    kind: Literal["procedural"] = "procedural"
    settings: NoSettings = NoSettings()

    @property
    def model_names(self) -> tuple[str, ...]:
        """The one model."""
        return (self.model,)

    def has_model(self, name: str) -> bool:
        """There is one, so jobs that wait outlive another name for it."""
        return True

    @property
    def model(self) -> str:
        """The one model; its name is for people only."""
        return self.default_model or (self.models[0].name if self.models else self.kind)
