"""What a pipeline does with reference videos, however they are given."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import vap
from tests.pipelines.golden import Golden, load, relative_error
from vap.media import write_video
from vap.pipelines.inputs import ClipLike

CLOSE = 1e-5


def two_references(case: Golden) -> dict[str, Any]:
    return {
        "reference_videos": [case.inputs["reference"], case.inputs["second_reference"]],
        "reference_prompts": ["a zoom", "a balloon"],
    }


def encode(case: Golden, clips: Any, captions: Any = None, **options: Any) -> vap.VideoPrompt:
    size = {"height": 48, "width": 64, "num_frames": 9, "fit": "stretch"}
    return case.pipeline.encode_video_prompt(clips, captions, **{**size, **options})


def with_prompt(case: Golden, prompt: vap.VideoPrompt, **changes: Any) -> torch.Tensor:
    return case.run(case.alone(video_prompt=prompt, **changes))


# Strength


def test_strength_zero_is_no_reference(case: Golden) -> None:
    alone = case.run(case.alone())
    assert torch.equal(case.run(case.prompted(strength=0.0)), alone)
    prompt = encode(case, case.inputs["reference"])
    assert torch.equal(with_prompt(case, prompt, strength=0.0), alone)


def test_strength_is_continuous_from_the_backbone_to_the_released_model(case: Golden) -> None:
    alone = case.run(case.alone())
    distances = [
        relative_error(case.run(case.prompted(strength=strength)), alone)
        for strength in (1e-6, 1e-3, 0.1, 0.5, 1.0)
    ]
    assert distances == sorted(distances)
    assert distances[0] < 1e-5
    assert distances[1] < 1e-3
    assert distances[-1] > 5e-3


def test_strength_changes_without_a_jump_near_the_released_model(case: Golden) -> None:
    full, almost = (case.run(case.prompted(strength=s)) for s in (1.0, 0.9999))
    assert 0 < relative_error(almost, full) < 1e-3


@pytest.mark.parametrize("strength", [-0.5, 1.01, float("nan")])
def test_strength_out_of_range_is_refused(case: Golden, strength: float) -> None:
    with pytest.raises(ValueError, match="between 0"):
        case.run(case.prompted(strength=strength))


# Video prompts


def test_a_video_prompt_gives_what_the_videos_give(case: Golden, tmp_path: Path) -> None:
    raw = two_references(case)
    expected = case.run(case.alone(**raw))
    prompt = encode(case, raw["reference_videos"], raw["reference_prompts"])
    assert len(prompt) == 2
    assert prompt.captions == ("a zoom", "a balloon")
    assert torch.equal(with_prompt(case, prompt), expected)
    assert torch.equal(with_prompt(case, prompt), expected)
    file = prompt.save(tmp_path / "prompt.safetensors")
    assert torch.equal(with_prompt(case, vap.VideoPrompt.load(file)), expected)


def test_joined_video_prompts_are_their_references_in_order(case: Golden) -> None:
    raw = two_references(case)
    prompts = [
        encode(case, clip, caption)
        for clip, caption in zip(raw["reference_videos"], raw["reference_prompts"], strict=True)
    ]
    expected = case.run(case.alone(**raw))
    assert torch.equal(with_prompt(case, prompts[0].joined(prompts[1])), expected)
    assert not torch.equal(with_prompt(case, prompts[1].joined(prompts[0])), expected)


def test_a_video_prompt_knows_where_it_comes_from(case: Golden, tmp_path: Path) -> None:
    file = write_video(case.inputs["reference"], tmp_path / "clip.mp4", fps=8)
    prompt = encode(case, file, "a zoom", frame_selection="first")
    (source,) = prompt.references
    assert (source.name, source.caption, source.fps) == ("clip.mp4", "a zoom", 8.0)
    assert source.frames == tuple(range(9))
    assert len(source.sha256) == 64


def test_a_video_prompt_of_another_model_or_size_is_refused(wan: Golden, cogvideox: Golden) -> None:
    prompt = encode(wan, wan.inputs["reference"])
    with pytest.raises(ValueError, match="model family is wan, but must be cogvideox"):
        with_prompt(cogvideox, prompt)
    with pytest.raises(ValueError, match=r"size is PixelShape.*frames=9.*frames=5"):
        with_prompt(wan, prompt, num_frames=5, latents=None)
    with pytest.raises(ValueError, match="last-frame setting is False, but must be True"):
        with_prompt(wan, prompt, last_image=wan.inputs["image"])


def test_a_video_prompt_of_other_encoders_is_refused(case: Golden) -> None:
    pipeline = load(case.family)
    prompt = encode(case, case.inputs["reference"])
    with torch.no_grad():
        next(pipeline.vae.parameters()).add_(0.1)
    retrained = type(pipeline)(**pipeline.components)
    with pytest.raises(ValueError, match="its encoders is"):
        case.run(case.alone(video_prompt=prompt), retrained)


def test_a_video_prompt_serves_the_model_in_another_precision(case: Golden) -> None:
    half = load(case.family, dtype="bf16")
    prompt = encode(case, case.inputs["reference"], "a zoom")
    output = case.run(case.alone(video_prompt=prompt), half)
    expected = case.run(case.prompted(reference_prompts="a zoom"))
    assert relative_error(output.float(), expected) < 0.05


def test_videos_and_a_video_prompt_together_are_refused(case: Golden) -> None:
    prompt = encode(case, case.inputs["reference"])
    with pytest.raises(ValueError, match="either reference_videos or video_prompt"):
        case.run(case.prompted(video_prompt=prompt))


def test_captions_without_clips_are_refused(case: Golden) -> None:
    with pytest.raises(ValueError, match="captions of reference_videos, and there are none"):
        case.run(case.alone(reference_prompts=["a zoom"]))
    prompt = encode(case, case.inputs["reference"])
    with pytest.raises(ValueError, match="video_prompt has its own: leave reference_prompts out"):
        with_prompt(case, prompt, reference_prompts=["a zoom"])


def test_what_is_no_video_prompt_is_refused_with_what_to_do(case: Golden) -> None:
    prompt = encode(case, case.inputs["reference"])
    with pytest.raises(TypeError, match=r"is str; .*VideoPrompt\.load\(path\)"):
        case.run(case.alone(video_prompt="prompt.safetensors"))
    with pytest.raises(TypeError, match=r"is list; .*first\.joined\(\*others\)"):
        case.run(case.alone(video_prompt=[prompt, prompt]))


def test_an_unknown_fit_is_refused_while_encoding(case: Golden) -> None:
    with pytest.raises(ValueError, match="fit='crop' is unknown"):
        encode(case, case.inputs["reference"], fit="crop")


# Clips


def clip_kinds(frames: np.ndarray, folder: Path) -> dict[str, ClipLike]:
    """One clip in every form that is accepted without loss."""
    stills = folder / "stills"
    stills.mkdir()
    pictures = [Image.fromarray(frame) for frame in frames]
    for index, picture in enumerate(pictures):
        picture.save(stills / f"{index}.png")
    tensor = torch.from_numpy(frames)
    return {
        "path of a folder": stills,
        "text of a path": str(stills),
        "PIL images": pictures,
        "frame arrays": list(frames),
        "frame arrays of one of several clips": [tuple(frames)],
        "frame tensors": list(tensor),
        "uint8 tensor": tensor,
        "float tensor": tensor.permute(0, 3, 1, 2) / 255,
        "float array": frames.astype(np.float32) / 255,
    }


def test_every_kind_of_clip_gives_the_same_bits(case: Golden, tmp_path: Path) -> None:
    expected = encode(case, case.inputs["reference"]).tensors
    for kind, clip in clip_kinds(case.inputs["reference"], tmp_path).items():
        tensors = encode(case, clip).tensors
        assert all(torch.equal(tensors[name], expected[name]) for name in expected), kind


def test_a_video_file_is_read_as_its_frames(case: Golden, tmp_path: Path) -> None:
    file = write_video(case.inputs["reference"], tmp_path / "clip.mp4", fps=16)
    decoded = vap.media.read_clip(file).frames
    by_path, by_frames = encode(case, file).tensors, encode(case, decoded).tensors
    assert all(torch.equal(by_path[name], by_frames[name]) for name in by_frames)


def test_references_of_different_lengths_and_sizes_go_together(case: Golden) -> None:
    short = case.inputs["second_reference"][:4, ::2]
    arguments = case.alone(reference_videos=[case.inputs["reference"], short])
    output = case.run(arguments)
    assert torch.isfinite(output).all()
    one = case.run(case.alone(reference_videos=case.inputs["reference"]))
    assert relative_error(output, one) > 1e-4


def test_a_clip_shorter_than_the_video_repeats_frames(case: Golden) -> None:
    short = case.inputs["reference"][:4]
    evenly = encode(case, short)
    assert evenly.references[0].frames == (0, 0, 0, 1, 1, 1, 2, 2, 3)
    first = encode(case, short, frame_selection="first")
    assert first.references[0].frames == (0, 1, 2, 3, 3, 3, 3, 3, 3)


def test_a_still_is_refused(case: Golden) -> None:
    with pytest.raises(ValueError, match="A still shows no motion"):
        case.run(case.prompted(reference_videos=case.inputs["reference"][:1]))


def test_a_stacked_array_is_several_references(case: Golden) -> None:
    clips = [case.inputs["reference"], case.inputs["second_reference"]]
    assert torch.equal(
        case.run(case.alone(reference_videos=np.stack(clips))),
        case.run(case.alone(reference_videos=clips)),
    )


def test_frames_are_taken_evenly_by_default(case: Golden) -> None:
    clip = case.inputs["reference"]
    evenly = encode(case, clip)
    assert evenly.references[0].frames == (0, 2, 5, 7, 10, 12, 15, 17, 20)
    first = encode(case, clip, frame_selection="first")
    assert first.references[0].frames == tuple(range(9))
    assert torch.equal(
        case.run(case.alone(reference_videos=clip, frame_selection="first")),
        with_prompt(case, first),
    )


def test_a_random_window_is_drawn_from_the_generator(case: Golden) -> None:
    clip = case.inputs["reference"]
    windows = []
    for seed in (0, 0, 1):
        generator = torch.Generator().manual_seed(seed)
        prompt = encode(case, clip, frame_selection="random", generator=generator)
        windows.append(prompt.references[0].frames)
    assert windows[0] == windows[1] != windows[2]
    assert all(window == tuple(range(window[0], window[0] + 9)) for window in windows)


def test_covering_crops_where_stretching_distorts(case: Golden) -> None:
    clip = case.inputs["reference"]
    cropped = clip[:, :, 3:77]  # 56 × 74.7 has the proportions of 48 × 64
    cover, stretch = encode(case, clip, fit="cover"), encode(case, clip)
    narrow = encode(case, cropped)

    def distance(a: vap.VideoPrompt, b: vap.VideoPrompt) -> float:
        name = "latents" if case.family == "wan" else "video_moments"
        return relative_error(a.tensors[name], b.tensors[name])

    assert distance(cover, narrow) < distance(cover, stretch)


def test_unknown_frame_selection_is_refused(case: Golden) -> None:
    with pytest.raises(ValueError, match="evenly"):
        case.run(case.prompted(frame_selection="last"))


@pytest.mark.parametrize(
    ("references", "prompts"), [(1, ["a", "b"]), (2, ["a"]), (2, "a"), (0, None), (0, [])]
)
def test_captions_that_do_not_fit_the_clips_are_refused(
    case: Golden, references: int, prompts: Any
) -> None:
    clips = [case.inputs["reference"]] * references
    with pytest.raises(ValueError, match=f"Reference videos: {references}, "):
        case.run(case.alone(reference_videos=clips, reference_prompts=prompts))


def test_the_second_reference_and_its_caption_matter(case: Golden) -> None:
    raw = two_references(case)
    both = case.run(case.alone(**raw))
    one = {name: value[:1] for name, value in raw.items()}
    assert relative_error(case.run(case.alone(**one)), both) > 1e-4
    changed = {**raw, "reference_prompts": ["a zoom", "a red sofa turns into a cat"]}
    assert relative_error(case.run(case.alone(**changed)), both) > 1e-6


def test_references_without_an_expert_are_refused(case: Golden) -> None:
    pipeline = load(case.family)
    pipeline.transformer.remove_expert()
    with pytest.raises(ValueError, match="no expert"):
        case.run(case.prompted(), pipeline)
    assert torch.equal(case.run(case.alone(), pipeline), case.run(case.alone()))
