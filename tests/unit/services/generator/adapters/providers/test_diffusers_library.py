"""The provider kind `diffusers` with the library itself, and a tiny model of random numbers that these tests make.

They need the extra: they run where `pip install 'calotype[diffusers]'` was done, and on the device that is there.
"""

import asyncio
import importlib.util
import io
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from services.generator.adapters.provider_entries import DiffusersSettings
from services.generator.adapters.providers.diffusers import INSTALL, DiffusersProvider
from services.generator.adapters.torch_pipeline import LIBRARIES, TorchPipeline
from services.generator.domain.outcomes import Acceptance, ProviderError
from services.generator.ports import Order
from tests.support.diffusing import entry, order
from tests.support.patience import PATIENCE

MISSING = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
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
    if MISSING:
        pytest.skip(f"{', '.join(MISSING)} not installed: {INSTALL}")
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
        opened.append(DiffusersProvider(entry(usual | settings)))
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
        Order(call_id="c", idempotency_key="c", model="m", count=1, request=wanted.request, report=told.append)
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
            Order(call_id="c", idempotency_key="c", model="m", count=1, request=wanted.request, report=report)
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
    report = Order(
        call_id="c", idempotency_key="c", model="m", count=1, request=wanted.request,
        report=lambda share: begun.set() if share else None,
    )  # fmt: skip
    unwanted = asyncio.create_task(provider.submit(report))
    await begun.wait()
    unwanted.cancel()
    with pytest.raises(asyncio.CancelledError):
        await unwanted

    assert (await provider.submit(wanted)).images == first


@of_the_library
async def test_what_the_safety_checker_flags_is_refused(model: Path) -> None:
    settings = DiffusersSettings(path=str(model), steps=1)

    def load() -> TorchPipeline:
        import diffusers

        pipe = diffusers.AutoPipelineForText2Image.from_pretrained(str(model), local_files_only=True)
        pipe.run_safety_checker = lambda image, device, dtype: (image, [False, True])
        return TorchPipeline(pipe, settings)

    provider = DiffusersProvider(entry({"max_images_per_call": 2}), load=load)
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
    provider = DiffusersProvider(entry(), load=lambda: TorchPipeline(Silent(), settings))
    with pytest.raises(ProviderError, match="takes no negative_prompt"):
        await provider.submit(order(size="64x64", negative_prompt="boats"))
    await provider.close()


@of_the_library
@pytest.mark.parametrize("damage", ["model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors"])
async def test_a_damaged_model_is_a_matter_of_the_operator(model: Path, tmp_path: Path, damage: str) -> None:
    import shutil

    shutil.copytree(model, tmp_path / "model")
    (tmp_path / "model" / damage).write_bytes(b"{")
    provider = DiffusersProvider(entry({"path": str(tmp_path / "model")}))
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
    provider = DiffusersProvider(entry({"path": "calotype-nobody/nothing"}))
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
        f"There is no device {missing} here.",
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
