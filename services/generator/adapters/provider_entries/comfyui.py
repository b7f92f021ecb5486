"""Entries of the kind `comfyui`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.generator.adapters.provider_entries.shared import OutputFormat, RemoteEntry, Strict

Slot = Literal["prompt", "negative_prompt", "seed", "width", "height", "n", "image"]
NodeId = Annotated[str, Field(coerce_numbers_to_str=True, min_length=1, max_length=100)]
Address = Annotated[str, Field(max_length=300)]
MOST_NODES = 2000
MOST_WORKFLOW_BYTES = 1024 * 1024


class Node(BaseModel):
    """One node of a workflow; what the editor writes beside is not sent."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    class_type: str = Field(min_length=1, max_length=200)
    inputs: Mapping[str, Any]


class ComfyUISettings(Strict):
    """The workflow, and the input of it that each field of a request goes into."""

    workflow: Mapping[NodeId, Node] = Field(min_length=1, max_length=MOST_NODES)
    workflow_file: Path | None = None
    slots: Mapping[Slot, Address]
    max_images_per_call: int = Field(default=1, ge=1, le=10)
    min_side: int = Field(default=64, ge=16)
    max_side: int = Field(default=2048, ge=16, le=16_384)
    side_multiple: int = Field(default=8, ge=1)
    #: What the workflow saves. A job that asks for this format, and for no other, is taken.
    output_format: OutputFormat | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_file(cls, told: Any) -> Any:
        if not isinstance(told, dict) or told.get("workflow_file") is None:
            return told
        if "workflow" in told:
            raise ValueError("workflow and workflow_file exclude each other")
        given = {name: value for name, value in told.items() if name != "workflow_file"}
        return given | {"workflow": _workflow_of(Path(str(told["workflow_file"])))}

    @model_validator(mode="after")
    def _slots_fit(self) -> "ComfyUISettings":
        if "prompt" not in self.slots:
            raise ValueError("slots must say where the prompt goes")
        if ("width" in self.slots) != ("height" in self.slots):
            raise ValueError("slots must have width and height, or neither")
        if self.max_images_per_call > 1 and "n" not in self.slots:
            raise ValueError("max_images_per_call over 1 needs the slot n")
        if len(set(self.slots.values())) != len(self.slots):
            raise ValueError("two slots are the same input")
        for slot, address in self.slots.items():
            if not self.can_set(address):
                raise ValueError(f"slots.{slot}: the workflow has no {address}, or another node gives its value")
        return self

    def can_set(self, address: str) -> bool:
        """Whether `NODE.inputs.NAME` is an input of the workflow that holds a value of its own."""
        node, _, name = address.partition(".inputs.")
        inputs = self.workflow[node].inputs if node in self.workflow else {}
        # An input that another node gives is a pair: the node, and which of its outputs.
        return name in inputs and not isinstance(inputs[name], (list, tuple))


class ComfyUIEntry(RemoteEntry):
    """A ComfyUI server of one's own."""

    kind: Literal["comfyui"]
    settings: ComfyUISettings

    @model_validator(mode="after")
    def _is_one_model(self) -> "ComfyUIEntry":
        if len(self.models) != 1 or self.default_model not in (None, self.models[0].name):
            raise ValueError("name exactly one model in models: a workflow is one")
        return self

    def api_key(self, environ: Mapping[str, str]) -> str:
        """The credential of a server that asks for one; empty where the entry names none. Raises `ConfigError`."""
        return super().api_key(environ) if self.api_key_env or self.api_key_file else ""

    def price_of(self, model: str) -> int:
        """Price of one image; nothing, when the file does not tell it."""
        return super().price_of(model) or 0


def _workflow_of(path: Path) -> Any:
    """The workflow in a file. Raises `ValueError` that names the file."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_WORKFLOW_BYTES + 1)
        told = json.loads(content) if len(content) <= MOST_WORKFLOW_BYTES else None
    except OSError as error:
        raise ValueError(f"workflow_file {path} cannot be read") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"workflow_file {path} is not JSON") from error
    nodes = list(told.values()) if isinstance(told, dict) else []
    if not nodes or not all(isinstance(node, dict) and {"class_type", "inputs"} <= node.keys() for node in nodes):
        raise ValueError(f"workflow_file {path} is no workflow of at most 1 MiB as ComfyUI's `Export (API)` writes it")
    return told
