"""Batches, seeds, outputs, callbacks and refusals of a call."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    CogVideoXDDIMScheduler,
    DPMSolverMultistepScheduler,
    FirstBlockCacheConfig,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
)
from diffusers.utils import export_to_video
from PIL import Image

import vap
from tests.pipelines.golden import Golden, load, relative_error
from tests.pipelines.test_stock import cogvideox_of_1_5, wan_of_design
from vap.media import read_clip

CLOSE = 1e-5


def seeds(*values: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(value) for value in values]


# Seeds and batches


def test_the_same_seed_gives_the_same_bytes(case: Golden) -> None:
    runs = [case.run(case.encoded(latents=None, output_type="pil")) for _ in range(2)]
    first, second = ([frame.tobytes() for frame in frames] for (frames,) in runs)
    assert first == second


def test_each_video_of_a_batch_is_the_one_made_alone(case: Golden) -> None:
    image = Image.fromarray(case.inputs["image"])
    images, prompts = [image, image.rotate(90)], ["a cat on a sofa", "a balloon in the snow"]
    together = case.run(
        case.encoded(image=images, prompt=prompts, latents=None, generator=seeds(1, 2))
    )
    assert len(together) == 2
    for row in range(2):
        alone = case.run(
            case.encoded(
                image=images[row],
                prompt=prompts[row],
                latents=None,
                generator=seeds(row + 1),
            )
        )
        assert relative_error(together[row : row + 1], alone) < CLOSE


@pytest.mark.parametrize("single", ["image", "prompt"])
def test_one_image_or_one_prompt_serves_the_whole_batch(case: Golden, single: str) -> None:
    batch = {"image": [case.inputs["image"]] * 2, "prompt": ["a cat", "a cat"]}
    arguments = {"latents": None, "reference_prompts": "a zoom"}
    every = case.run(case.prompted(**batch, **arguments, generator=seeds(1, 2)))
    one = {**batch, single: batch[single][0]}
    output = case.run(case.prompted(**one, **arguments, generator=seeds(1, 2)))
    assert relative_error(output, every) < CLOSE


def test_several_videos_of_one_prompt_differ_by_their_seeds(case: Golden) -> None:
    arguments = {"num_videos_per_prompt": 2, "latents": None}
    together = case.run(case.prompted(**arguments, generator=seeds(1, 2)))
    for row in range(2):
        alone = case.run(case.encoded(latents=None, generator=seeds(row + 1)))
        assert relative_error(together[row : row + 1], alone) < CLOSE
    assert relative_error(together[:1], together[1:]) > 0.1


def test_several_videos_of_several_prompts_stand_sample_by_sample(case: Golden) -> None:
    arguments = {"prompt": ["a cat", "a balloon"], "num_videos_per_prompt": 2, "latents": None}
    together = case.run(case.prompted(**arguments, generator=seeds(1, 2, 3, 4)))
    third = case.run(case.encoded(prompt="a balloon", latents=None, generator=seeds(3)))
    assert relative_error(together[2:3], third) < CLOSE


# Images


def image_kinds(picture: np.ndarray, folder: Any) -> dict[str, Any]:
    path = folder / "image.png"
    Image.fromarray(picture).save(path)
    tensor = torch.from_numpy(picture).permute(2, 0, 1)
    return {
        "path": path,
        "text": str(path),
        "PIL": Image.fromarray(picture),
        "array": picture,
        "list": [picture],
        "stack of arrays": picture[None],
        "uint8 tensor": tensor,
        "tensor in 0…1": tensor / 255,
        "tensor in −1…1": tensor[None] / 127.5 - 1,
    }


def test_every_kind_of_image_gives_the_same(case: Golden, tmp_path) -> None:
    # Of the final size: tensors and pictures are resized by different filters.
    picture = np.ascontiguousarray(case.inputs["reference"][0, :48, :64])
    quick = {"num_inference_steps": 1, "guidance_scale": 1.0}
    expected = case.run(case.prompted(image=Image.fromarray(picture), **quick))
    for kind, image in image_kinds(picture, tmp_path).items():
        output = case.run(case.prompted(image=image, **quick))
        assert relative_error(output, expected) < CLOSE, kind


def test_covering_crops_the_image(case: Golden) -> None:
    image = Image.fromarray(case.inputs["image"])
    width, height = image.size
    band = image.crop((0, height // 4, width, height // 4 + height // 2))
    stretched, covered = (case.run(case.encoded(image=band, fit=f)) for f in ("stretch", "cover"))
    assert not torch.equal(stretched, covered)


@pytest.mark.parametrize("size", [(48, 160), (96, 64)])
def test_covering_takes_the_middle_of_a_tensor(case: Golden, size: tuple[int, int]) -> None:
    rows, columns = size
    picture = torch.rand((1, 3, *size), generator=torch.Generator().manual_seed(0))
    top, left = (rows - 48) // 2, (columns - 64) // 2
    middle = picture[:, :, top : top + 48, left : left + 64]
    quick = {"num_inference_steps": 1, "guidance_scale": 1.0}
    expected = case.run(case.alone(image=middle, **quick))
    assert torch.equal(case.run(case.alone(image=picture, fit="cover", **quick)), expected)
    assert not torch.equal(case.run(case.alone(image=picture, **quick)), expected)


def test_last_images_join_the_conditions_of_target_and_reference(wan: Golden) -> None:
    last = wan.inputs["second_reference"][-1]
    output = wan.run(wan.prompted(last_image=last))
    assert torch.isfinite(output).all()
    assert not torch.equal(output, wan.run(wan.prompted()))
    clip = wan.inputs["reference"]
    prompt = wan.pipeline.encode_video_prompt(
        clip,
        wan.settings["reference_prompts"],
        height=48,
        width=64,
        num_frames=9,
        has_last_frame=True,
        fit="stretch",
    )
    assert torch.equal(wan.run(wan.alone(last_image=last, video_prompt=prompt)), output)
    mask = prompt.tensors["condition"][0, :4]
    assert mask[:, 0].eq(1).all()
    assert mask[:3, -1].eq(0).all()
    assert mask[3, -1].eq(1).all()


def test_first_last_frame_backbones_take_batches_and_references(wan: Golden) -> None:
    pipeline = wan_of_design(pos_embed_seq_len=10)
    first, last = wan.inputs["image"], wan.inputs["second_reference"][-1]
    references = [wan.inputs["reference"], wan.inputs["second_reference"]]
    arguments = {"reference_videos": references, "reference_prompts": None, "latents": None}
    together = wan.run(
        wan.prompted(
            image=[first, last],
            last_image=[last, first],
            prompt=["a cat", "a balloon"],
            num_videos_per_prompt=2,
            generator=seeds(1, 2, 3, 4),
            **arguments,
        ),
        pipeline,
    )
    third = wan.run(
        wan.prompted(
            image=last, last_image=first, prompt="a balloon", generator=seeds(3), **arguments
        ),
        pipeline,
    )
    assert relative_error(together[2:3], third) < CLOSE
    with pytest.raises(ValueError, match="needs a last_image"):
        wan.run(wan.prompted(), pipeline)


# Embeddings in place of text and images


def test_embeddings_stand_in_for_texts(case: Golden) -> None:
    expected = case.run(case.encoded())
    with torch.no_grad():
        text, negative = case.pipeline.encode_prompt(
            case.settings["prompt"],
            case.settings["negative_prompt"],
            do_classifier_free_guidance=True,
            max_sequence_length=512 if case.family == "wan" else 226,
        )
    given = {"prompt": None, "negative_prompt": None}
    output = case.run(case.prompted(**given, prompt_embeds=text, negative_prompt_embeds=negative))
    assert torch.equal(output, expected)


def test_embeddings_stand_in_for_image_tokens(wan: Golden) -> None:
    tokens = wan.pipeline.encode_image(Image.fromarray(wan.inputs["image"]))
    expected = wan.run(wan.encoded())
    assert torch.equal(wan.run(wan.encoded(image_embeds=tokens)), expected)
    assert not torch.equal(wan.run(wan.encoded(image_embeds=-tokens)), expected)


# Outputs


def test_output_types_hold_the_same_video(case: Golden) -> None:
    (pictures,) = case.run(case.encoded(output_type="pil"))
    array = case.run(case.encoded(output_type="np"))
    tensor = case.run(case.encoded(output_type="pt"))
    assert array.shape == (1, 9, 48, 64, 3)
    assert tensor.shape == (1, 9, 3, 48, 64)
    assert 0.0 <= array.min() <= array.max() <= 1.0
    np.testing.assert_array_equal(array, tensor.permute(0, 1, 3, 4, 2).numpy())
    np.testing.assert_array_equal((array[0] * 255).round(), np.stack(pictures))


@pytest.mark.parametrize("num_frames", [1, 5, 9, 13])
def test_as_many_frames_come_out_as_were_asked_for(case: Golden, num_frames: int) -> None:
    call = case.alone(num_frames=num_frames, latents=None, output_type="np", num_inference_steps=1)
    assert case.pipeline(**call).frames.shape[1] == num_frames


def test_a_tuple_in_place_of_an_output_object(case: Golden) -> None:
    (frames,) = case.pipeline(**case.encoded(return_dict=False))
    assert torch.equal(frames, case.run(case.encoded()))


# Schedulers


@pytest.mark.parametrize(
    ("family", "scheduler"),
    [
        ("wan", FlowMatchEulerDiscreteScheduler(shift=5.0)),
        ("wan", FlowMatchHeunDiscreteScheduler(shift=5.0)),
        (
            "wan",
            DPMSolverMultistepScheduler(
                prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0
            ),
        ),
        ("cogvideox", CogVideoXDDIMScheduler(prediction_type="v_prediction")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_schedulers_step_with_references(request, family: str, scheduler: Any) -> None:
    case = request.getfixturevalue(family)
    pipeline = load(family)
    pipeline.scheduler = scheduler
    output = case.run(case.encoded(num_inference_steps=3), pipeline)
    assert torch.isfinite(output).all()
    assert relative_error(output, case.run(case.encoded(num_inference_steps=3))) > 1e-3


# Caches


def test_a_cache_tells_the_guidance_passes_apart(case: Golden) -> None:
    pipeline = load(case.family)
    arguments = {"num_inference_steps": 4}
    pipeline.transformer.enable_cache(FirstBlockCacheConfig(threshold=0.0))
    expected = case.run(case.prompted(**arguments))
    assert relative_error(case.run(case.prompted(**arguments), pipeline), expected) < CLOSE
    pipeline.transformer.disable_cache()
    pipeline.transformer.enable_cache(FirstBlockCacheConfig(threshold=10.0))
    calls = []
    last = list(pipeline.transformer.expert_blocks)[-1]
    last.attn1.to_q.register_forward_hook(lambda *_: calls.append(1))
    skipped = case.run(case.prompted(**arguments), pipeline)
    assert CLOSE < relative_error(skipped, expected) < 0.2
    # The first step runs whole; Wan makes its two passes one after the other.
    assert len(calls) == (2 if case.family == "wan" else 1)
    again = case.run(case.prompted(**arguments), pipeline)
    assert torch.equal(again, skipped)


def test_a_call_that_failed_leaves_nothing_in_a_cache(case: Golden) -> None:
    pipeline = load(case.family)
    pipeline.transformer.enable_cache(FirstBlockCacheConfig(threshold=10.0))
    expected = case.run(case.encoded(), pipeline)

    def fail(*_: Any) -> dict:
        raise KeyError

    with pytest.raises(KeyError):
        case.run(case.encoded(callback_on_step_end=fail), pipeline)
    assert torch.equal(case.run(case.encoded(), pipeline), expected)


# Refusals


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"output_type": "gif"}, "output_type='gif' is unknown"),
        ({"num_frames": 10}, "num_frames=10 does not fit this model.*Use num_frames=9"),
        ({"num_frames": 0}, "num_frames=0 does not fit this model"),
        ({"height": 50}, "height=50.*multiple of 16.*Use height=48"),
        ({"width": 0}, "width=0"),
        ({"prompt": None}, "Give a prompt"),
        ({"prompt_embeds": torch.zeros(1, 512, 32)}, "either prompt or prompt_embeds"),
        ({"negative_prompt_embeds": torch.zeros(1, 512, 32)}, "either negative_prompt or"),
        (
            {"prompt": ["a", "b", "c"], "image": [np.zeros((8, 8, 3), np.uint8)] * 2},
            "Images: 2, prompts: 3",
        ),
        ({"num_inference_steps": 0}, "num_inference_steps=0;.*at least one"),
        ({"num_inference_steps": -1}, "num_inference_steps=-1;.*at least one"),
        ({"num_inference_steps": 1001}, "num_inference_steps=1001;.*at most"),
        ({"fit": "crop"}, "fit='crop' is unknown.*cover, stretch"),
        ({"prompt": []}, "Images: 1, prompts: 0"),
        ({"image": np.zeros((0, 8, 8, 3), np.uint8)}, "Images: 0, prompts: 1"),
        ({"image": torch.zeros(0, 3, 8, 8)}, "image is a tensor of shape"),
        ({"num_videos_per_prompt": 0}, "num_videos_per_prompt=0"),
        ({"generator": [torch.Generator()] * 2}, "Generators: 2, videos: 1"),
        ({"latents": torch.zeros(1, 2, 3)}, re.escape("(1, 2, 3); this call needs (1, ")),
        ({"callback_on_step_end_tensor_inputs": ["noise"]}, "names .'noise'.*offers"),
        ({"image": torch.zeros(1, 1, 8, 8)}, r"image is a tensor of shape"),
        ({"image": torch.full((3, 8, 8), 200.0)}, "outside 0 … 1"),
        ({"image": [torch.zeros(3, 8, 8), torch.zeros(3, 9, 9)]}, "several sizes"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_bad_arguments_are_refused_in_words(case: Golden, changes: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        case.run(case.prompted(**changes))


def test_embeddings_of_another_batch_are_refused(case: Golden) -> None:
    length = 512 if case.family == "wan" else 226
    with torch.no_grad():
        _, two = case.pipeline.encode_prompt("a", "b", max_sequence_length=length)
    given = {"negative_prompt": None, "negative_prompt_embeds": two.repeat(2, 1, 1)}
    with pytest.raises(ValueError, match="negative_prompt_embeds has 2 rows for 1 samples"):
        case.run(case.prompted(**given))


def test_image_tokens_of_another_batch_are_refused(wan: Golden) -> None:
    with torch.no_grad():
        tokens = wan.pipeline.encode_image([Image.fromarray(wan.inputs["image"])] * 2)
    with pytest.raises(ValueError, match="image_embeds has 2 rows for 1 samples"):
        wan.run(wan.encoded(image_embeds=tokens))


def test_an_image_of_no_known_kind_is_refused(case: Golden) -> None:
    with pytest.raises(TypeError, match="image is int; give a path"):
        case.run(case.encoded(image=3))


def test_more_last_images_than_images_are_refused(wan: Golden) -> None:
    image = wan.inputs["image"]
    with pytest.raises(ValueError, match="Images: 1, last images: 2"):
        wan.run(wan.prompted(last_image=[image, image]))


def test_learned_positions_fix_the_size(cogvideox: Golden) -> None:
    with pytest.raises(ValueError, match=r"learned positions.*48×64 only"):
        cogvideox.run(cogvideox.prompted(height=64, latents=None))


@pytest.mark.parametrize("how", ["max_sequence_length", "prompt_embeds"])
def test_wan_texts_of_another_length_are_refused(how: str) -> None:
    pipeline = load("wan")
    given: dict[str, Any] = {"prompt": "a cat", "max_sequence_length": 64}
    if how == "prompt_embeds":
        given = {"prompt_embeds": torch.zeros(1, 64, pipeline.text_encoder.config.d_model)}
    with pytest.raises(ValueError, match=r"64 tokens.* 512"):
        pipeline(Image.new("RGB", (64, 48)), **given, height=48, width=64, num_frames=9)


@pytest.mark.parametrize("how", ["max_sequence_length", "prompt_embeds"])
def test_cogvideox_texts_of_another_length_are_refused(cogvideox: Golden, how: str) -> None:
    given: dict[str, Any] = {"max_sequence_length": 64}
    if how == "prompt_embeds":
        with torch.no_grad():
            text, negative = cogvideox.pipeline.encode_prompt("a", "b", max_sequence_length=64)
        given = {"prompt": None, "negative_prompt": None}
        given |= {"prompt_embeds": text, "negative_prompt_embeds": negative}
    # Learned positions follow those of the text.
    with pytest.raises(ValueError, match=r"64 tokens, and this model needs 226\."):
        cogvideox.run(cogvideox.alone(**given))
    free, given = cogvideox_of_1_5(), {**given, "latents": None}
    with pytest.raises(ValueError, match=r"64 tokens.*needs 226 for guidance with references"):
        cogvideox.run(cogvideox.prompted(**given), free)
    for call in (cogvideox.alone(**given), cogvideox.prompted(**given, strength=0.0)):
        assert cogvideox.run(call, free).isfinite().all()


@pytest.mark.parametrize("output_type", ["pil", "np", "pt", "latent"])
@pytest.mark.parametrize("component", ["transformer", "vae"])
def test_non_finite_values_are_refused(case: Golden, output_type: str, component: str) -> None:
    pipeline = load(case.family)
    if component == "vae" and output_type == "latent":
        return
    broken = pipeline.transformer.proj_out if component == "transformer" else pipeline.vae.decoder
    with torch.no_grad():
        [*broken.parameters()][-1].fill_(torch.nan)
    with pytest.raises(ValueError, match="non-finite values in float32"):
        case.run(case.encoded(output_type=output_type), pipeline)


def test_the_third_argument_is_the_negative_prompt_as_in_diffusers(case: Golden) -> None:
    given = case.alone(negative_prompt="blurry")
    image, prompt, negative = (given.pop(name) for name in ("image", "prompt", "negative_prompt"))
    found = case.pipeline(image, prompt, negative, **given).frames
    assert torch.equal(found, case.run(case.alone(negative_prompt="blurry")))


def test_inputs_are_cropped_to_the_size_by_default(case: Golden) -> None:
    given = case.encoded()
    del given["fit"]
    assert torch.equal(case.run(given), case.run(case.encoded(fit="cover")))
    assert not torch.equal(case.run(case.encoded()), case.run(case.encoded(fit="cover")))


def test_what_a_pipeline_returns_can_be_written(
    case: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its other way to write needs a program that imageio brings.
    monkeypatch.setattr("diffusers.utils.export_utils.is_imageio_available", lambda: False)
    for output_type in ("np", "pil"):
        frames = case.run(case.encoded(output_type=output_type))[0]
        ours = vap.write_video(frames, tmp_path / f"{output_type}.mp4", 8)
        theirs = export_to_video(frames, str(tmp_path / f"theirs_{output_type}.mp4"), 8)
        for file in (ours, theirs):
            assert read_clip(file).frames.shape == (9, 48, 64, 3)
