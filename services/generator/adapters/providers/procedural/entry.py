"""Provider-file entry of the kind `procedural`."""

from typing import Literal

from services.generator.adapters.providers.entry import Entry
from services.generator.adapters.providers.entry_fields import Strict


class NoSettings(Strict):
    """The kind has no settings."""


class ProceduralEntry(Entry):
    """Images drawn by this machine's CPU from rules; for trials and tests."""

    kind: Literal["procedural"] = "procedural"
    """The kind of the provider."""
    settings: NoSettings = NoSettings()
    """The kind has no settings."""

    @property
    def model_names(self) -> tuple[str, ...]:
        """The only model."""
        return (self.model,)

    def has_model(self, name: str) -> bool:
        """Returns True: with one model, jobs that wait stay valid when the file renames it."""
        return True

    @property
    def model(self) -> str:
        """The only model; its name is a label and selects nothing."""
        return self.default_model or (self.models[0].name if self.models else self.kind)
