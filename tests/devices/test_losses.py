"""Training's losses on a GPU that is not there; encodings come from the CPU, as from shards."""

import pytest
import torch

from tests.devices.fake import CUDA, fake_cuda, retype
from tests.devices.making import FAMILIES, scheduler, transformer
from vap.training.sections import FlowConfig
from vap.training.variants.cogvideox_variant import CogVideoXVariant
from vap.training.variants.wan_variant import WanVariant


class Generator:
    """Stands for a ``torch.Generator`` of CUDA, which a CPU build cannot make."""

    device = CUDA


@pytest.fixture(autouse=True)
def drawn_by_a_stand_in(monkeypatch):
    for name in ("randn", "randint", "rand"):
        stock = getattr(torch, name)

        def draw(*size, generator=None, _stock=stock, **options):
            if generator is not None:
                assert torch.device(options.get("device", "cpu")) == generator.device
            return _stock(*size, **options)

        monkeypatch.setattr(torch, name, draw)


def encodings(family, model, *lead):
    config = model.config
    if family == "wan":
        outputs, inputs = config.out_channels, config.in_channels
        shapes = {
            "latents": (outputs, 3, 8, 8),
            "condition": (inputs - outputs, 3, 8, 8),
            "text": (512, config.text_dim),
            "image": (257, config.image_dim),
        }
    else:
        moments = 2 * config.out_channels
        frames = (config.sample_frames - 1) // 4 + 1
        space = (config.sample_height, config.sample_width)
        shapes = {
            "video_moments": (moments, frames, *space),
            "frame_moments": (moments, 1, *space),
            "text": (config.max_text_seq_length, config.text_embed_dim),
        }
    return {name: torch.empty(*lead, *shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("references", [0, 3])
def test_a_loss_is_computed_where_the_model_is(family, references):
    levels = scheduler(family)
    with fake_cuda():
        model = retype(transformer(family), torch.float32)
        if family == "wan":
            variant = WanVariant(FlowConfig(shift=3.0))
        else:
            variant = CogVideoXVariant(levels.alphas_cumprod, 0.7, scale_images=False)
            variant._rotary_tables = model.rotary_tables
        generator = Generator()
        target = variant.stream(encodings(family, model, 2), generator)
        shown = encodings(family, model, 2, references)
        reference = variant.stream(shown, generator) if references else None
        level = variant.objective.draw(2, generator)
        assert variant.loss(model, target, reference, level, generator).device == CUDA
