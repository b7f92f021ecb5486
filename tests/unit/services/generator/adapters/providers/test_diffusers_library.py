"""The provider kind `diffusers` with the library itself, and a tiny model of random numbers that these tests make.

They need the extra, and run on the device that is there.
"""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from services.generator.adapters.providers.diffusers.entry import DiffusersSettings
from services.generator.adapters.providers.diffusers.provider import DiffusersProvider
from services.generator.adapters.providers.diffusers.torch_pipeline import LIBRARIES, TorchPipeline
from services.generator.domain.jobs import InputImage
from services.generator.domain.provider_results import Acceptance, ProviderError
from services.generator.ports import ProviderRequest
from tests.support.generator.decoder import decoder
from tests.support.patience import PATIENCE
from tests.support.providers.diffusers_entries import entry, order
from tests.support.required_tools import need_libraries

#: The libraries warn of each other's ways.
of_the_library = pytest.mark.filterwarnings("ignore")


def _write_tokenizer(folder: Path) -> int:
    """A vocabulary of single letters; its size."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [*letters, *(f"{one}</w>" for one in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return len(words)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model: as diffusion models are, with numbers drawn by lot."""
    need_libraries(*LIBRARIES, "peft", install="make diffusers")
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    folder = tmp_path_factory.mktemp("model")
    size = _write_tokenizer(folder / "letters")
    # So small a model is drawn sooner by one core than by several that wait for each other.
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pipe = StableDiffusionPipeline(
        tokenizer=CLIPTokenizer(
            str(folder / "letters/vocab.json"), str(folder / "letters/merges.txt"), model_max_length=16
        ),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(
                vocab_size=size, hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
                max_position_embeddings=16, bos_token_id=size - 2, eos_token_id=size - 1, pad_token_id=size - 1,
            )
        ),
        unet=UNet2DConditionModel(
            sample_size=8, block_out_channels=(4, 8), layers_per_block=1, norm_num_groups=2, cross_attention_dim=32,
            attention_head_dim=4, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        ),
        vae=AutoencoderKL(
            block_out_channels=[4] * 4, norm_num_groups=2, latent_channels=4,
            down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
        ),
        scheduler=DDIMScheduler(), safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipe.save_pretrained(folder / "tiny")
    return folder / "tiny"


@pytest.fixture
async def open_with(model: Path) -> AsyncIterator[Callable[..., DiffusersProvider]]:
    """Opens the provider with the tiny model, as the provider file would."""
    opened: list[DiffusersProvider] = []

    def with_settings(**settings: Any) -> DiffusersProvider:
        usual = {"path": str(model), "steps": 3, "guidance_scale": 3, "max_images_per_call": 4}
        opened.append(DiffusersProvider(entry(usual | settings), decoder()))
        return opened[-1]

    yield with_settings
    for provider in opened:
        await provider.close()


@of_the_library
@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
async def test_the_library_draws(open_with: Callable[..., DiffusersProvider], output_format: str) -> None:
    made = await open_with().submit(order(size="128x64", output_format=output_format))
    [source] = made.images
    image = Image.open(io.BytesIO(source.data or b""))

    assert (image.format, image.size) == (output_format.upper(), (128, 64))
    assert len(image.convert("RGB").getcolors(128 * 64) or []) > 100


@of_the_library
async def test_without_a_size_a_picture_is_as_large_as_the_model_likes(
    open_with: Callable[..., DiffusersProvider],
) -> None:
    [source] = (await open_with().submit(order())).images

    assert Image.open(io.BytesIO(source.data or b"")).size == (64, 64)


@of_the_library
async def test_a_seed_is_a_picture_and_so_are_prompts(open_with: Callable[..., DiffusersProvider]) -> None:
    provider = open_with()

    async def picture(**fields: Any) -> bytes | None:
        return (await provider.submit(order(**({"seed": 7, "size": "64x64"} | fields)))).images[0].data

    first = await picture()
    others = [
        await picture(seed=8),
        await picture(prompt="a cat"),
        await picture(negative_prompt="boats"),
        await picture(size="64x72"),
    ]

    assert await picture() == first
    # Another process, or one that was started anew, draws it again.
    assert (await open_with().submit(order(seed=7, size="64x64"))).images[0].data == first
    assert len({first, *others}) == 5


@of_the_library
async def test_several_pictures_of_a_call_have_a_seed_each(open_with: Callable[..., DiffusersProvider]) -> None:
    import numpy

    provider = open_with()
    together = (await provider.submit(order(count=3, seed=7, size="64x64"))).images
    alone = [(await provider.submit(order(seed=seed, size="64x64"))).images[0] for seed in (7, 8, 9)]

    assert [image.seed for image in together] == [7, 8, 9]
    for one, other in zip(together, alone, strict=True):
        pixels = [numpy.asarray(Image.open(io.BytesIO(image.data or b"")), dtype=int) for image in (one, other)]
        # Numbers of a batch are added up in another order.
        assert abs(pixels[0] - pixels[1]).max() <= 3


@of_the_library
async def test_each_step_is_told(open_with: Callable[..., DiffusersProvider]) -> None:
    told: list[float] = []
    wanted = order(size="64x64")
    await open_with(steps=4).submit(
        ProviderRequest(
            call_id="c", idempotency_key="c", model="m", count=1, request=wanted.request, report=told.append
        )
    )

    assert told == [0.0, 0.2, 0.4, 0.6, 0.8]


@of_the_library
async def test_a_call_that_is_let_go_ends_long_before_its_last_step(
    open_with: Callable[..., DiffusersProvider],
) -> None:
    provider = open_with(steps=500)
    told: list[float] = []
    begun = asyncio.Event()

    def report(share: float) -> None:
        told.append(share)
        if share:
            begun.set()

    wanted = order(size="512x512")
    unwanted = asyncio.create_task(
        provider.submit(
            ProviderRequest(call_id="c", idempotency_key="c", model="m", count=1, request=wanted.request, report=report)
        )
    )
    async with asyncio.timeout(PATIENCE):
        await begun.wait()
        unwanted.cancel()
        with pytest.raises(asyncio.CancelledError):
            await unwanted
        # Closing waits for the thread: it has ended, and not by drawing all of it.
        await provider.close()

    assert max(told) < 0.9


@of_the_library
async def test_a_pipeline_is_of_use_after_a_call_was_let_go(open_with: Callable[..., DiffusersProvider]) -> None:
    provider = open_with(steps=20)
    wanted = order(seed=7, size="64x64")
    first = (await provider.submit(wanted)).images
    begun = asyncio.Event()
    report = ProviderRequest(
        call_id="c", idempotency_key="c", model="m", count=1, request=wanted.request,
        report=lambda share: begun.set() if share else None,
    )  # fmt: skip
    unwanted = asyncio.create_task(provider.submit(report))
    await begun.wait()
    unwanted.cancel()
    with pytest.raises(asyncio.CancelledError):
        await unwanted

    assert (await provider.submit(wanted)).images == first


def _picture(width: int, height: int, colour: Any = "navy", mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height), colour).save(file, "PNG")
    return file.getvalue()


def _edit(picture: bytes, mask: bytes | None = None, **request: Any) -> ProviderRequest:
    """A call that begins with a picture."""
    indexes = (0,) if mask is None else (0, -1)
    places = tuple(InputImage(index=index, url=None, content_type="image/png") for index in indexes)
    wanted = order(**({"seed": 7} | request))
    inputs = (picture,) if mask is None else (picture, mask)
    return replace(wanted, request=replace(wanted.request, inputs=places), inputs=inputs)


async def _drawn(provider: DiffusersProvider, wanted: ProviderRequest) -> Any:
    """The pixels of the one picture of a call."""
    import numpy

    [source] = (await provider.submit(wanted)).images
    return numpy.asarray(Image.open(io.BytesIO(source.data or b"")).convert("RGB"), dtype=int)


@of_the_library
async def test_a_drawing_that_begins_with_a_picture_is_nearer_to_it_the_less_its_strength_is(
    open_with: Callable[..., DiffusersProvider],
) -> None:
    import numpy

    provider = open_with(image_to_image=True, steps=10)
    picture = _picture(96, 64)
    first = await _drawn(provider, _edit(picture, options={"strength": 0.2}))
    strong = await _drawn(provider, _edit(picture, options={"strength": 0.9}))
    again = await _drawn(provider, _edit(picture, options={"strength": 0.2}))
    other = await _drawn(provider, _edit(_picture(96, 64, "orange"), options={"strength": 0.2}))

    assert first.shape == (64, 96, 3)
    assert (numpy.array_equal(first, again), numpy.array_equal(first, strong)) == (True, False)
    strong_other = await _drawn(provider, _edit(_picture(96, 64, "orange"), options={"strength": 0.9}))
    assert abs(first - other).mean() > abs(strong - strong_other).mean()


@of_the_library
@pytest.mark.parametrize(
    ("size", "picture", "drawn"),
    [(None, (100, 60), (96, 64)), (None, (2048, 512), (256, 64)), ("64x128", (96, 64), (64, 128))],
)
async def test_an_edit_has_the_size_that_was_asked_for_or_about_the_pictures_own(
    open_with: Callable[..., DiffusersProvider], size: str | None, picture: tuple[int, int], drawn: tuple[int, int]
) -> None:
    provider = open_with(image_to_image=True, inpainting=True, max_side=256)
    for mask in (None, _picture(8, 8, (0, 0, 0, 0), "RGBA")):
        made = await _drawn(provider, _edit(_picture(*picture), mask, size=size))
        assert (made.shape[1], made.shape[0]) == drawn


@of_the_library
async def test_what_a_mask_leaves_out_stays_nearer_to_the_picture_than_what_it_covers(
    open_with: Callable[..., DiffusersProvider],
) -> None:
    provider = open_with(inpainting=True, steps=10)
    picture, left = _picture(128, 64), Image.new("RGBA", (128, 64), (0, 0, 0, 255))
    left.paste((0, 0, 0, 0), (0, 0, 64, 64))
    file = io.BytesIO()
    left.save(file, "PNG")
    nothing = await _drawn(provider, _edit(picture, _picture(128, 64, "black")))
    half = await _drawn(provider, _edit(picture, file.getvalue()))
    difference = abs(half - nothing).mean(axis=2)

    assert difference[:, :48].mean() > 1.5 * difference[:, 80:].mean()


@of_the_library
async def test_steps_and_guidance_of_a_job_change_its_picture(open_with: Callable[..., DiffusersProvider]) -> None:
    provider = open_with(steps=3, max_steps=8)
    told: list[float] = []
    usual = (await provider.submit(order(seed=7, size="64x64"))).images[0].data
    wanted = order(seed=7, size="64x64", options={"steps": 8, "guidance_scale": 6.5})
    other = (await provider.submit(replace(wanted, report=told.append))).images[0].data

    assert usual != other
    assert len(told) == 9


@of_the_library
async def test_an_option_that_the_pipeline_does_not_know_is_refused(
    open_with: Callable[..., DiffusersProvider],
) -> None:
    with pytest.raises(ProviderError, match="has no true_cfg_scale"):
        await open_with().submit(order(size="64x64", options={"true_cfg_scale": 4}))


@pytest.fixture(scope="session")
def lora(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an adapter for the tiny model, with numbers drawn by lot."""
    import torch
    from diffusers import StableDiffusionPipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    pipe = StableDiffusionPipeline.from_pretrained(str(model), local_files_only=True)
    torch.manual_seed(1)
    pipe.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_k", "to_v"], init_lora_weights=False))
    folder = tmp_path_factory.mktemp("lora")
    StableDiffusionPipeline.save_lora_weights(str(folder), unet_lora_layers=get_peft_model_state_dict(pipe.unet))
    return folder


@of_the_library
async def test_an_adapter_of_the_entry_is_put_onto_the_model_by_its_weight(
    open_with: Callable[..., DiffusersProvider], lora: Path
) -> None:
    wanted = order(seed=7, size="64x64")

    async def picture(*loras: Any) -> bytes | None:
        return (await open_with(loras=loras).submit(wanted)).images[0].data

    plain = await picture()
    file = str(lora / "pytorch_lora_weights.safetensors")

    assert await picture({"path": str(lora), "weight": 0}) == plain
    assert await picture({"path": str(lora)}) == await picture({"path": file, "weight": 1.0}) != plain
    assert await picture({"path": str(lora), "weight": 0.5}) != await picture({"path": str(lora), "weight": 4})
    both = [{"path": str(lora), "weight": 0.5, "weight_name": "pytorch_lora_weights.safetensors"}] * 2
    assert await picture(*both) != plain


@of_the_library
async def test_a_damaged_adapter_is_a_matter_of_the_operator(
    open_with: Callable[..., DiffusersProvider], tmp_path: Path
) -> None:
    damaged = tmp_path / "ink.safetensors"
    damaged.write_bytes(b"{")
    with pytest.raises(ProviderError) as error:
        await open_with(loras=[{"path": str(damaged)}]).submit(order())

    assert (error.value.code, error.value.reason) == ("PERMANENT", "PROVIDER_REJECTED")
    assert str(tmp_path) not in error.value.message


@of_the_library
async def test_a_model_without_a_pipeline_for_pictures_says_so(model: Path) -> None:
    class Bare:
        """A pipeline that the library knows no others of."""

        def __init__(self) -> None:
            self.config: dict[str, Any] = {}

        def __call__(self, prompt: str, generator: Any) -> None:
            """Never called."""
            raise AssertionError

    settings = DiffusersSettings(path=str(model), image_to_image=True)
    provider = DiffusersProvider(
        entry({"image_to_image": True}), decoder(), load=lambda: TorchPipeline(Bare(), settings)
    )
    with pytest.raises(ProviderError, match="has no pipeline for Image2Image"):
        await provider.submit(_edit(_picture(64, 64)))
    await provider.close()


@of_the_library
async def test_what_the_safety_checker_flags_is_refused(model: Path) -> None:
    settings = DiffusersSettings(path=str(model), steps=1)

    def load() -> TorchPipeline:
        import diffusers

        pipe = diffusers.AutoPipelineForText2Image.from_pretrained(str(model), local_files_only=True)
        pipe.run_safety_checker = lambda image, device, dtype: (image, [False, True])
        return TorchPipeline(pipe, settings)

    provider = DiffusersProvider(entry({"max_images_per_call": 2}), decoder(), load=load)
    with pytest.raises(ProviderError) as error:
        await provider.submit(order(count=2, size="64x64"))
    await provider.close()

    assert (error.value.reason, error.value.acceptance) == ("CONTENT_POLICY", Acceptance.ACCEPTED)


@of_the_library
async def test_a_size_that_the_pipeline_refuses_is_said_in_its_words(
    open_with: Callable[..., DiffusersProvider],
) -> None:
    with pytest.raises(ProviderError, match="divisible by 8") as error:
        await open_with(side_multiple=1).submit(order(size="65x64"))

    assert error.value.reason == "UNSUPPORTED"


@of_the_library
async def test_what_a_pipeline_does_not_take_is_refused(model: Path) -> None:
    class Silent:
        """A pipeline that takes no negative prompt."""

        def __call__(self, prompt: str, generator: Any, width: int, height: int) -> None:
            """Never called."""
            raise AssertionError

    settings = DiffusersSettings(path=str(model))
    provider = DiffusersProvider(entry(), decoder(), load=lambda: TorchPipeline(Silent(), settings))
    with pytest.raises(ProviderError, match="has no negative_prompt"):
        await provider.submit(order(size="64x64", negative_prompt="boats"))
    await provider.close()


@of_the_library
@pytest.mark.parametrize("damage", ["model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors"])
async def test_a_damaged_model_is_a_matter_of_the_operator(model: Path, tmp_path: Path, damage: str) -> None:
    import shutil

    shutil.copytree(model, tmp_path / "model")
    (tmp_path / "model" / damage).write_bytes(b"{")
    provider = DiffusersProvider(entry({"path": str(tmp_path / "model")}), decoder())
    with pytest.raises(ProviderError) as error:
        await provider.submit(order())
    await provider.close()

    assert (error.value.code, error.value.reason) == ("PERMANENT", "PROVIDER_REJECTED")
    assert str(tmp_path) not in error.value.message


@of_the_library
async def test_a_model_that_was_never_fetched_is_not_fetched_unasked(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    def connect(*target: Any) -> None:
        raise AssertionError(f"asked {target}")

    monkeypatch.setattr(socket.socket, "connect", connect)
    provider = DiffusersProvider(entry({"path": "calotype-nobody/nothing"}), decoder())
    with pytest.raises(ProviderError) as error:
        await provider.submit(order())
    await provider.close()

    assert (error.value.code, error.value.reason) == ("PERMANENT", "PROVIDER_REJECTED")


@of_the_library
async def test_a_device_that_is_not_there_is_a_matter_of_the_operator(
    open_with: Callable[..., DiffusersProvider],
) -> None:
    import torch

    missing = "mps" if not torch.backends.mps.is_available() else "cuda"
    with pytest.raises(ProviderError) as error:
        await open_with(device=missing).submit(order())

    assert (error.value.reason, error.value.vendor.message) == (
        "PROVIDER_REJECTED",
        f"This machine has no device {missing}.",
    )


@of_the_library
async def test_too_large_for_the_memory_is_for_later(
    open_with: Callable[..., DiffusersProvider], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    provider = open_with()
    wanted = order(seed=7, size="64x64")
    first = (await provider.submit(wanted)).images

    def full(*arguments: Any, **named: Any) -> None:
        raise torch.OutOfMemoryError("Tried to allocate 20.00 GiB.")

    with monkeypatch.context() as patched:
        patched.setattr(torch.nn.functional, "conv2d", full)
        with pytest.raises(ProviderError) as error:
            await provider.submit(wanted)

    assert (error.value.reason, error.value.retryable) == ("PROVIDER_UNAVAILABLE", True)
    assert (await provider.submit(wanted)).images == first


@of_the_library
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
async def test_a_graphics_card_draws(open_with: Callable[..., DiffusersProvider], dtype: str) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("this machine has no CUDA device")
    provider = open_with(device="cuda", dtype=dtype)
    pictures = [(await provider.submit(order(seed=7, size="64x64"))).images[0].data for _ in range(2)]

    assert Image.open(io.BytesIO(pictures[0] or b"")).size == (64, 64)
    assert pictures[0] == pictures[1]
