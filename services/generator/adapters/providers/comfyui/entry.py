"""Provider-file entry of the kind `comfyui`."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt, model_validator

from services.generator.adapters.providers.entry import RemoteEntry
from services.generator.adapters.providers.entry_fields import OutputFormat, Strict
from services.generator.adapters.providers.option_rules import Rules, one_of

#: Fields of a request that can be set in a workflow.
Slot = Literal["prompt", "negative_prompt", "seed", "width", "height", "n", "image", "images", "mask"]
NodeId = Annotated[str, Field(coerce_numbers_to_str=True, min_length=1, max_length=100)]
#: An input of the workflow, as `NODE.inputs.NAME`.
Address = Annotated[str, Field(max_length=300)]
Value = str | StrictInt | StrictFloat | bool
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
MAX_NODES = 2000
MAX_WORKFLOW_BYTES = 1024 * 1024


class Node(BaseModel):
    """A node of the workflow. Other keys, which ComfyUI's editor writes, are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)

    class_type: str = Field(min_length=1, max_length=200)
    """The node's class in ComfyUI."""
    inputs: Mapping[str, Any]
    """Inputs by name: a value, or a pair of another node and the index of its output."""


class Choice(Strict):
    """An option of jobs that sets an input of the workflow to one of several values."""

    input: Address
    """The input that is set, as `NODE.inputs.NAME`."""
    values: Mapping[Name, Value] = Field(min_length=1, max_length=200)
    """Values by the names that jobs write."""


class ComfyUISettings(Strict):
    """The workflow, and the input of the workflow that each field of a request sets."""

    api: Literal["v1", "v2"] = "v1"
    """`v1`: the API of a ComfyUI server; `v2`: Comfy API v2, of Comfy Cloud and comfy-api-proxy."""
    api_key_header: str | None = Field(default=None, pattern=r"^[A-Za-z][A-Za-z0-9-]{0,99}$")
    """Header that carries the key alone, such as `X-API-Key`; left out, `Authorization: Bearer KEY`."""
    workflow: Mapping[NodeId, Node] = Field(min_length=1, max_length=MAX_NODES)
    """The workflow in API format, by node; this or `workflow_file`."""
    workflow_file: Path | None = None
    """Path of a JSON file of at most 1 MiB with the workflow, as ComfyUI's `Export (API)` writes it; in place of
    `workflow`."""
    slots: Mapping[Slot, Address | tuple[Address, ...]]
    """The input (`NODE.inputs.NAME`) that each field of a request sets; `images` sets a list of inputs. `prompt` is
    required."""
    models: Mapping[str, Mapping[Address, Value]] = Field(default_factory=dict, max_length=200)
    """Inputs that each of the entry's models sets, by the model's name; required with more than one model."""
    choices: Mapping[Name, Choice] = Field(default_factory=dict, max_length=100)
    """Options of jobs that choose among listed values, by name."""
    max_images_per_call: int = Field(default=1, ge=1, le=10)
    """Most images of one call; over 1 needs the slot `n`."""
    min_side: int = Field(default=64, ge=16)
    """Shortest side in pixels, with the slots `width` and `height`."""
    max_side: int = Field(default=2048, ge=16, le=16_384)
    """Longest side in pixels."""
    side_multiple: int = Field(default=8, ge=1)
    """Sides must be a multiple of this many pixels."""
    output_format: OutputFormat | None = None
    """Format that the workflow saves; a job may request only this format. Left out, none may be requested."""

    @model_validator(mode="before")
    @classmethod
    def _read_file(cls, settings: Any) -> Any:
        if not isinstance(settings, dict) or settings.get("workflow_file") is None:
            return settings
        if "workflow" in settings:
            raise ValueError("workflow and workflow_file exclude each other: write one of them")
        others = {name: value for name, value in settings.items() if name != "workflow_file"}
        return others | {"workflow": _workflow_of(Path(str(settings["workflow_file"])))}

    @model_validator(mode="after")
    def _slots_fit(self) -> "ComfyUISettings":
        if "prompt" not in self.slots:
            raise ValueError("slots must have prompt, the input that the prompt sets")
        if ("width" in self.slots) != ("height" in self.slots):
            raise ValueError("slots must have width and height, or neither")
        if self.max_images_per_call > 1 and "n" not in self.slots:
            raise ValueError("max_images_per_call over 1 needs the slot n")
        if "image" in self.slots and "images" in self.slots:
            raise ValueError("slots must have image or images, not both")
        if "mask" in self.slots and not self.image_slots:
            raise ValueError("the slot mask needs the slot image or images")
        for slot, address in self.slots.items():
            if isinstance(address, str) is (slot == "images"):
                raise ValueError(f"slots.{slot} must be {'a list of inputs' if slot == 'images' else 'one input'}")
        return self

    @model_validator(mode="after")
    def _inputs_are_there(self) -> "ComfyUISettings":
        for key, address in self._named_inputs():
            if not self.can_set(address):
                raise ValueError(f"{key}: the workflow has no {address}, or another node gives its value")
        slots = [address for key, address in self._named_inputs() if key.startswith("slots.")]
        if len(set(slots)) != len(slots):
            raise ValueError("two slots are the same input")
        chosen = [choice.input for choice in self.choices.values()]
        if len(set(chosen)) != len(chosen):
            raise ValueError("two choices are the same input")
        if both := sorted(set(slots) & self.kept_inputs):
            raise ValueError(f"{both[0]} is set by slots, and by models or choices as well")
        return self

    def _named_inputs(self) -> Iterator[tuple[str, str]]:
        """Yields each key that names an input, and the input."""
        for slot, value in self.slots.items():
            for address in (value,) if isinstance(value, str) else value:
                yield f"slots.{slot}", address
        for model, inputs in self.models.items():
            for address in inputs:
                yield f"models.{model}", address
        for name, choice in self.choices.items():
            yield f"choices.{name}", choice.input

    @property
    def image_slots(self) -> tuple[str, ...]:
        """Inputs that the job's images set, in their order."""
        value = self.slots.get("images", self.slots.get("image", ()))
        return (value,) if isinstance(value, str) else value

    @property
    def kept_inputs(self) -> frozenset[str]:
        """Inputs whose values the file lists; jobs cannot set them to anything else."""
        by_models = [address for inputs in self.models.values() for address in inputs]
        return frozenset([*by_models, *(choice.input for choice in self.choices.values())])

    def can_set(self, address: str) -> bool:
        """Returns whether `NODE.inputs.NAME` is an input of the workflow that holds a value."""
        node, _, name = address.partition(".inputs.")
        inputs = self.workflow[node].inputs if node in self.workflow else {}
        # An input that another node gives is a pair: the node, and the index of its output.
        return name in inputs and not isinstance(inputs[name], (list, tuple))


class ComfyUIEntry(RemoteEntry):
    """A self-hosted ComfyUI server, or Comfy Cloud."""

    kind: Literal["comfyui"]
    """The kind of the provider."""
    strip_metadata: bool = True
    """Whether metadata is removed from results: ComfyUI writes the workflow into images."""
    settings: ComfyUISettings
    """Settings of the kind."""

    @model_validator(mode="after")
    def _models_are_known(self) -> "ComfyUIEntry":
        names = [model.name for model in self.models]
        if not names or self.default_model not in (None, *names):
            raise ValueError("name each model in models, also the default_model")
        if len(names) > 1 or self.settings.models:
            for name in names:
                if name not in self.settings.models:
                    raise ValueError(f"settings.models must have the inputs that the model {name!r} sets")
        return self

    def _known_options(self) -> Rules:
        """Rules of the choices that the file lists; jobs can set no other input of the workflow."""
        return {name: one_of(*choice.values) for name, choice in self.settings.choices.items()}

    def api_key(self, environ: Mapping[str, str]) -> str:
        """Returns the server's credential; empty if the entry names no key. Raises `ConfigError`."""
        return super().api_key(environ) if self.api_key_env or self.api_key_file else ""

    def price_of(self, model: str) -> int:
        """Returns the price of one image in millionths of a US dollar; 0 if the file has none."""
        return super().price_of(model) or 0


def _workflow_of(path: Path) -> Any:
    """Returns the workflow in a file. Raises `ValueError` that names the file."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_WORKFLOW_BYTES + 1)
        workflow = json.loads(content) if len(content) <= MAX_WORKFLOW_BYTES else None
    except OSError as error:
        raise ValueError(f"workflow_file {path} cannot be read") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"workflow_file {path} is not JSON") from error
    nodes = list(workflow.values()) if isinstance(workflow, dict) else []
    if not nodes or not all(isinstance(node, dict) and {"class_type", "inputs"} <= node.keys() for node in nodes):
        raise ValueError(f"workflow_file {path} is no workflow of at most 1 MiB as ComfyUI's `Export (API)` writes it")
    return workflow
