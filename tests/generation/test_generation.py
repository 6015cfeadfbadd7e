import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import vap
from tests.media.making import moving
from tests.pipelines.golden import FOLDER
from tests.pipelines.test_video_prompt import video_prompt
from vap.acceleration.plan import MemoryPlan
from vap.devices import check_device
from vap.generation.record import (
    changed_versions,
    has_same_inputs,
    quantized_in,
    record_of,
    recorded_run,
    request_from,
)
from vap.generation.request import GenerationRequest, check_output, check_request
from vap.generation.run import (
    Generation,
    filled_in,
    generate,
    loading_options,
    save,
    sheet_rows,
)
from vap.media import MediaError, RunRecord, read_clip, write_video
from vap.training.methods.lora import LoraStrategy
from vap.training.tuning_config import ModelConfig

MODEL = FOLDER / "cogvideox"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
SETTINGS = st.sampled_from([field.name for field in dataclasses.fields(GenerationRequest)])


@pytest.fixture(scope="module")
def pipeline():
    return vap.load_pipeline(MODEL)


@pytest.fixture(scope="module")
def request_(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    frames = moving(24)
    Image.fromarray(frames[0, ::-1]).save(folder / "image.png")
    return GenerationRequest(
        image=folder / "image.png",
        references=(write_video(frames, folder / "frames", 16),),
        reference_prompts=("it turns blue",),
        prompt="a ball",
        model=str(MODEL),
        num_inference_steps=2,
        frame_selection="random",
    )


@pytest.fixture(scope="module")
def generation(pipeline, request_):
    return generate(request_, pipeline)


def record(**changes) -> RunRecord:
    return RunRecord(model="m", prompt="", seed=0, fps=16.0, **changes)


def test_what_is_left_open_is_filled_in_by_the_model(pipeline, request_):
    filled = filled_in(request_, pipeline)
    assert (filled.num_frames, filled.height, filled.width, filled.fps) == (9, 48, 64, 16.0)
    assert (filled.num_inference_steps, filled.dtype, filled.device) == (2, "float32", "cpu")
    assert filled_in(filled, pipeline) == filled


def test_stages_and_steps_are_told_in_order(pipeline, request_):
    told = []
    made = generate(
        request_,
        pipeline,
        on_stage=told.append,
        on_step=lambda done, total: told.append((done, total)),
    )
    assert told == ["encode", "generate", (1, 2), (2, 2)]
    assert list(made.seconds) == ["encode", "generate"]
    assert made.frames.dtype == np.uint8


def test_same_request_same_frames_and_same_bytes(generation, pipeline, request_, tmp_path):
    again = generate(request_, pipeline)
    assert np.array_equal(again.frames, generation.frames)
    save(generation, tmp_path / "one.mp4")
    save(again, tmp_path / "two.mp4")
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()


def test_sheet_shows_the_frames_that_the_model_saw(generation, request_):
    reference, image, result = sheet_rows(generation)
    (taken,) = generation.taken
    assert len(taken) == 9
    assert np.diff(taken).tolist() == [1] * 8
    clip = read_clip(request_.references[0], frame_indices=taken).frames
    assert len(reference.frames) == 8
    assert np.array_equal(reference.frames[0], clip[0])
    assert np.array_equal(reference.frames[-1], clip[-1])
    assert [row.title for row in (reference, image, result)] == ["reference", "image", "result"]
    assert (reference.note, image.note, result.note) == ("it turns blue", "", "a ball")
    assert result.frames is generation.frames


def test_request_comes_back_from_its_record(generation):
    assert request_from(generation.record) == generation.request
    parsed = RunRecord.from_json(generation.record.to_json())
    assert request_from(parsed) == generation.request


def test_folder_without_its_json_is_read_from_its_first_frame(generation, request_, tmp_path):
    (video, beside) = save(generation, tmp_path / "out")
    assert recorded_run(video) == recorded_run(beside)
    beside.unlink()
    inside = recorded_run(video)
    assert inside.embedded() == generation.record.embedded()
    moved = {"image": [request_.image], "reference": request_.references}
    assert request_from(inside, moved=moved, model=str(MODEL)) == generation.request


def test_damaged_json_is_an_error_even_if_the_video_has_a_record(generation, tmp_path):
    video, beside = save(generation, tmp_path / "out.mp4")
    beside.write_text("{")
    with pytest.raises(MediaError, match="not valid JSON"):
        recorded_run(video)


def test_json_that_stayed_from_another_video_does_not_count(generation, tmp_path, caplog):
    video, beside = save(generation, tmp_path / "out.mp4")
    stale = dataclasses.replace(generation.record, seed=99)
    beside.write_text(stale.to_json())
    assert recorded_run(video).seed == generation.record.seed
    assert "belongs to another video" in caplog.text
    assert recorded_run(beside) == stale
    video.unlink()  # then it is all there is
    assert recorded_run(video) == stale


def test_json_of_before_a_key_was_there_counts(generation, tmp_path):
    video = tmp_path / "out.mp4"
    inside = generation.record.embedded()
    del inside["weights"]
    write_video(moving(2), video, 16, metadata=inside)
    older = dataclasses.replace(generation.record, weights=None)
    (tmp_path / "out.mp4.json").write_text(older.to_json())
    assert recorded_run(video) == older


def test_what_is_inside_a_video_and_no_record_is_refused_with_advice(generation, tmp_path):
    video, beside = save(generation, tmp_path / "out.mp4")
    write_video(moving(2), video, 16, metadata={"made by": "somebody else"})
    with pytest.raises(MediaError, match=r"Delete .*out\.mp4\.json if it belongs to another video"):
        recorded_run(video)
    assert recorded_run(beside) == generation.record


def test_an_input_is_not_saved_over(generation, request_):
    before = read_clip(request_.references[0]).sha256
    with pytest.raises(MediaError, match="would overwrite the input"):
        save(generation, request_.references[0])
    assert read_clip(request_.references[0]).sha256 == before


@given(st.dictionaries(SETTINGS | st.text(), JSON, max_size=4))
def test_any_settings_of_a_record_give_a_request_or_a_media_error(arguments):
    try:
        content = json.loads(record().to_json()) | {"arguments": arguments}
        found = request_from(RunRecord.from_json(json.dumps(content)))
    except MediaError:
        return
    assert isinstance(found, GenerationRequest)


def test_bundled_names_and_hub_ids_are_recorded_as_such(request_, generation):
    filled = generation.request
    hub = record_of(dataclasses.replace(filled, model="owner/name"), None)
    assert (hub.model, hub.model_id, hub.model_path) == ("owner/name", "owner/name", None)
    assert generation.record.model_id is None
    assert generation.record.model_path == str(MODEL)


def test_eight_bits_that_nobody_asked_for_are_recorded_apart(
    generation, pipeline, request_, monkeypatch
):
    assert quantized_in(generation.record) is None
    monkeypatch.setattr(pipeline, "memory_plan", MemoryPlan("little", quantize="int8"))
    made = generate(request_, pipeline).record
    assert quantized_in(made) == "int8"
    # Asked for again as it was: the same memory makes the same of it, to the byte.
    assert request_from(made).quantize is None
    asked = dataclasses.replace(request_, quantize="int8")
    again = generate(asked, pipeline).record
    assert (quantized_in(again), request_from(again).quantize) == ("int8", "int8")


def test_student_may_be_given_as_its_folder(request_, tmp_path):
    model, strategy = vap.load_pipeline(MODEL).transformer, LoraStrategy("backbone")
    strategy.prepare(model, ModelConfig(start="", lora_rank=1))
    strategy.save(model, tmp_path)
    asked = dataclasses.replace(request_, student=tmp_path, num_inference_steps=1)
    made = generate(asked)
    found = request_from(made.record)
    assert found.student is not None
    assert found.student.parent == tmp_path
    assert found.student.is_file()
    assert has_same_inputs(made.record, asked)
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    again = request_from(made.record, moved={"student": [moved]})
    assert again.student == moved / found.student.name


def test_memory_is_planned_for_the_references_of_a_video_prompt(request_, tmp_path):
    file = video_prompt(3).save(tmp_path / "three.safetensors")
    asked = dataclasses.replace(
        request_, references=(), reference_prompts=(), video_prompt=file, memory="10GB"
    )
    assert loading_options(asked)["video"].references == 3
    lost = dataclasses.replace(asked, video_prompt=tmp_path / "lost.safetensors")
    assert loading_options(lost)["video"].references == 1
    assert loading_options(dataclasses.replace(request_, memory="10GB"))["video"].references == 1


def test_numbers_out_of_range_are_no_video(request_):
    broken = vap.load_pipeline(MODEL)
    with torch.no_grad():
        broken.transformer.proj_out.weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="non-finite values in float32"):
        generate(request_, broken)


def test_versions_that_differ_are_listed():
    assert changed_versions(record()) == {}
    assert changed_versions(record(versions={"torch": "1.0", "nix": "2"})).keys() == {
        "torch",
        "nix",
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_inference_steps": 0}, "at least one"),
        ({"model": "vap-mini", "num_inference_steps": 201}, "at most 200"),
        ({"model": "wan", "num_inference_steps": 334}, "at most 333"),
        ({"model": "cogvideox", "num_inference_steps": 1001}, "at most 1000"),
        ({"guidance_scale": float("inf")}, "guidance_scale=inf"),
        ({"strength": float("nan")}, "between 0"),
        ({"seed": 1 << 63}, "out of range"),
        ({"fps": -1.0}, "not a frame rate"),
        ({"device": "cuda:99"}, "this machine has"),
        ({"reference_prompts": ("a", "b")}, "References: 1, reference prompts: 2"),
    ],
)
def test_settings_that_no_model_can_follow_are_refused(change, message, request_):
    check_request(request_)
    with pytest.raises(ValueError, match=message):
        check_request(dataclasses.replace(request_, **change))


def test_processor_is_always_there():
    check_device("cpu")


@pytest.mark.parametrize("name", ["out.mp4", "out.WEBM", "out.gif", "new", "."])
def test_places_for_videos_that_can_be_written(name, tmp_path):
    check_output(tmp_path / name, tmp_path / "sheet.png")


def test_frames_of_before_may_be_replaced(generation, tmp_path):
    save(generation, tmp_path / "out")
    check_output(tmp_path / "out")


def test_sheet_of_a_video_prompt_has_no_reference_row(generation):
    request = dataclasses.replace(generation.request, references=(), reference_prompts=())
    rows = sheet_rows(Generation(generation.frames, request, generation.record))
    assert [row.title for row in rows] == ["image", "result"]
