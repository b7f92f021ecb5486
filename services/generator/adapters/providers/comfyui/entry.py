"""Entries of the kind `comfyui`."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt, model_validator

from services.generator.adapters.providers.entry import OutputFormat, RemoteEntry, Strict
from services.generator.adapters.providers.option_rules import Rules, one_of

Slot = Literal["prompt", "negative_prompt", "seed", "width", "height", "n", "image", "images", "mask"]
NodeId = Annotated[str, Field(coerce_numbers_to_str=True, min_length=1, max_length=100)]
Address = Annotated[str, Field(max_length=300)]
Value = str | StrictInt | StrictFloat | bool
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
MOST_NODES = 2000
MOST_WORKFLOW_BYTES = 1024 * 1024


class Node(BaseModel):
    """One node of a workflow; what the editor writes beside is not sent."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    class_type: str = Field(min_length=1, max_length=200)
    inputs: Mapping[str, Any]


class Choice(Strict):
    """An input of the workflow, and what jobs may put into it, by the names that they use."""

    input: Address
    values: Mapping[Name, Value] = Field(min_length=1, max_length=200)


class ComfyUISettings(Strict):
    """The workflow, and the input of it that each field of a request goes into."""

    #: `v2` is Comfy API v2, of Comfy Cloud and of comfy-api-proxy; `v1` is that of the server itself.
    api: Literal["v1", "v2"] = "v1"
    #: The header that carries the key; left out, it is `Authorization: Bearer`.
    api_key_header: str | None = Field(default=None, pattern=r"^[A-Za-z][A-Za-z0-9-]{0,99}$")
    workflow: Mapping[NodeId, Node] = Field(min_length=1, max_length=MOST_NODES)
    workflow_file: Path | None = None
    #: `images` is a list of inputs, all others are one.
    slots: Mapping[Slot, Address | tuple[Address, ...]]
    #: What each of the entry's models puts into the workflow; left out where there is one model.
    models: Mapping[str, Mapping[Address, Value]] = Field(default_factory=dict, max_length=200)
    #: Options of a job by which it chooses among listed values.
    choices: Mapping[Name, Choice] = Field(default_factory=dict, max_length=100)
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
        if "image" in self.slots and "images" in self.slots:
            raise ValueError("slots must have image or images, not both")
        if "mask" in self.slots and not self.image_slots:
            raise ValueError("the slot mask needs the slot image or images")
        for slot, told in self.slots.items():
            if isinstance(told, str) is (slot == "images"):
                raise ValueError(f"slots.{slot} must be {'a list of inputs' if slot == 'images' else 'one input'}")
        return self

    @model_validator(mode="after")
    def _inputs_are_there(self) -> "ComfyUISettings":
        for place, address in self._named_inputs():
            if not self.can_set(address):
                raise ValueError(f"{place}: the workflow has no {address}, or another node gives its value")
        slots = [address for place, address in self._named_inputs() if place.startswith("slots.")]
        if len(set(slots)) != len(slots):
            raise ValueError("two slots are the same input")
        chosen = [choice.input for choice in self.choices.values()]
        if len(set(chosen)) != len(chosen):
            raise ValueError("two choices are the same input")
        if both := sorted(set(slots) & self.kept_inputs):
            raise ValueError(f"{both[0]} is an input of slots, and of models or choices as well")
        return self

    def _named_inputs(self) -> Iterator[tuple[str, str]]:
        """Where the file names an input, and the input."""
        for slot, told in self.slots.items():
            for address in (told,) if isinstance(told, str) else told:
                yield f"slots.{slot}", address
        for model, inputs in self.models.items():
            for address in inputs:
                yield f"models.{model}", address
        for name, choice in self.choices.items():
            yield f"choices.{name}", choice.input

    @property
    def image_slots(self) -> tuple[str, ...]:
        """The inputs that take the job's pictures, in their order."""
        told = self.slots.get("images", self.slots.get("image", ()))
        return (told,) if isinstance(told, str) else told

    @property
    def kept_inputs(self) -> frozenset[str]:
        """Inputs whose values the file lists: no job sets them otherwise."""
        of_models = [address for inputs in self.models.values() for address in inputs]
        return frozenset([*of_models, *(choice.input for choice in self.choices.values())])

    def can_set(self, address: str) -> bool:
        """Whether `NODE.inputs.NAME` is an input of the workflow that holds a value of its own."""
        node, _, name = address.partition(".inputs.")
        inputs = self.workflow[node].inputs if node in self.workflow else {}
        # An input that another node gives is a pair: the node, and which of its outputs.
        return name in inputs and not isinstance(inputs[name], (list, tuple))


class ComfyUIEntry(RemoteEntry):
    """A ComfyUI server of one's own."""

    kind: Literal["comfyui"]
    strip_metadata: bool = True
    settings: ComfyUISettings

    @model_validator(mode="after")
    def _models_are_known(self) -> "ComfyUIEntry":
        names = [model.name for model in self.models]
        if not names or self.default_model not in (None, *names):
            raise ValueError("name each model in models")
        if len(names) > 1 or self.settings.models:
            for name in names:
                if name not in self.settings.models:
                    raise ValueError(f"settings.models must say what the model {name!r} puts into the workflow")
        return self

    def _known_options(self) -> Rules:
        """The choices that the file lists; no other input of the workflow is the job's to set."""
        return {name: one_of(*choice.values) for name, choice in self.settings.choices.items()}

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
