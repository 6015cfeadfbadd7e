import itertools
import multiprocessing
import os
import shutil
import signal
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from tests.data.encoding import GOLDEN, SIZES, job_of, written_rows
from vap.data.encode import EncodeSettings, choose_size, plan_job, run_job
from vap.data.encoded import EncodedClips
from vap.hub import load_pipeline
from vap.shapes import PixelShape

KILLS = 10


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    return folder, written_rows(folder)


@pytest.fixture(scope="module")
def unbroken(clips, tmp_path_factory):
    folder, rows = clips
    job = job_of(rows, folder, tmp_path_factory.mktemp("unbroken"))
    run_job(job)
    return job


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("model", ["wan", "cogvideox"])
def test_a_clip_is_stored_as_its_pipeline_encodes_it(model, clips, tmp_path) -> None:
    from vap.data.encode import read_frames

    folder, rows = clips
    job = job_of(rows[:2], folder, tmp_path, model)
    run_job(job)
    stored = EncodedClips(tmp_path)
    pipeline, size = load_pipeline(job.settings.model), SIZES[model]
    _, frames = read_frames(folder / rows[1].video, job.settings)
    prompt = pipeline.encode_video_prompt(
        frames, rows[1].caption, height=size.height, width=size.width, num_frames=size.frames
    )
    read = stored.read(rows[1].video)
    assert read.keys() == prompt.tensors.keys()
    for name, tensor in prompt.tensors.items():
        torch.testing.assert_close(read[name], tensor[0], rtol=0, atol=0)
    empty = pipeline.encode_video_prompt(
        frames, "", height=size.height, width=size.width, num_frames=size.frames
    )
    torch.testing.assert_close(stored.empty_text(), empty.tensors["text"][0], rtol=0, atol=0)


def test_killed_ten_times_it_ends_with_the_shards_of_an_unbroken_run(tmp_path) -> None:
    rows = written_rows(tmp_path / "clips", 2 * KILLS)
    places = [tmp_path / name for name in ("unbroken", "killed")]
    unbroken, killed = (job_of(rows, tmp_path / "clips", o, shard_size=1) for o in places)
    run_job(unbroken)
    # A server that has the modules loaded forks the processes that are killed.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vap.data.encode", "vap.data.encoders"])
    for kill in range(KILLS):
        left = len(killed.missing())
        process = context.Process(target=run_job, args=(killed,))
        process.start()
        while process.is_alive() and len(killed.missing()) == left:
            time.sleep(0.001)
        time.sleep(0.004 * kill)  # so that not all are killed at the same place of a shard
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL
    assert killed.missing()
    run_job(killed)
    assert contents(killed.output) == contents(unbroken.output)


def test_workers_write_the_shards_that_one_process_writes(clips, unbroken, tmp_path) -> None:
    folder, rows = clips
    job = job_of(rows, folder, tmp_path)
    run_job(job, workers=2)
    assert contents(tmp_path) == contents(unbroken.output)


def test_a_broken_clip_is_left_out_and_named(clips, tmp_path) -> None:
    folder, rows = clips
    (tmp_path / "videos").mkdir()
    for row in rows[:3]:
        (tmp_path / "videos" / row.video).write_bytes((folder / row.video).read_bytes())
    (tmp_path / "videos" / rows[1].video).write_bytes(b"no video")
    run_job(job_of(rows[:3], tmp_path / "videos", tmp_path / "out"))
    stored = EncodedClips(tmp_path / "out")
    assert list(stored.clips) == [rows[0].video, rows[2].video]
    assert list(stored.dropped) == [rows[1].video]
    assert rows[1].video not in stored


def test_a_folder_of_another_job_is_refused(clips, unbroken) -> None:
    folder, rows = clips
    with pytest.raises(ValueError, match="clips, clips_sha256, shards differ"):
        plan_job(rows[:2], unbroken.settings, folder, unbroken.output)


def test_a_missing_shard_is_named_with_the_remedy(clips, tmp_path) -> None:
    folder, rows = clips
    job_of(rows, folder, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"shard-000000.*goes on where it stopped"):
        EncodedClips(tmp_path)


def test_an_empty_table_is_refused(tmp_path) -> None:
    settings = EncodeSettings("wan", (SIZES["wan"],))
    with pytest.raises(ValueError, match="nothing to encode"):
        plan_job([], settings, tmp_path, tmp_path)


SHAPES = [PixelShape(*size) for size in itertools.product((9, 49), (480, 832), (480, 832))]


def test_a_clip_gets_the_nearest_proportions_and_the_longest_length_it_fills() -> None:
    assert choose_size(60, 720, 1280, SHAPES) == PixelShape(49, 480, 832)
    assert choose_size(60, 1280, 720, SHAPES) == PixelShape(49, 832, 480)
    assert choose_size(20, 720, 1280, SHAPES) == PixelShape(9, 480, 832)
    assert choose_size(3, 500, 500, SHAPES).frames == 9


@given(
    frames=st.integers(1, 500),
    height=st.integers(16, 4096),
    width=st.integers(16, 4096),
    sizes=st.lists(st.sampled_from(SHAPES), min_size=1, unique=True),
)
def test_the_choice_is_one_of_the_sizes_and_does_not_depend_on_their_order(
    frames, height, width, sizes
) -> None:
    chosen = choose_size(frames, height, width, sizes)
    assert chosen in sizes
    again = choose_size(frames, height, width, sizes[::-1])
    assert (again.frames, again.pixels) == (chosen.frames, chosen.pixels)


def test_time_is_not_spent_on_shards_that_are_there(unbroken) -> None:
    before = {path: path.stat().st_mtime_ns for path in unbroken.output.iterdir()}
    started = time.monotonic()
    run_job(unbroken)
    assert time.monotonic() - started < 1
    assert before == {path: path.stat().st_mtime_ns for path in unbroken.output.iterdir()}


def test_a_clip_that_vanishes_is_no_broken_clip(tmp_path) -> None:
    rows = written_rows(tmp_path, 4)
    job = job_of(rows, tmp_path, tmp_path / "out")
    kept = (tmp_path / "2.mp4").read_bytes()
    (tmp_path / "2.mp4").unlink()
    with pytest.raises(FileNotFoundError, match=r"2\.mp4.*run again"):
        run_job(job)
    assert job.missing() == [1]
    (tmp_path / "2.mp4").write_bytes(kept)
    run_job(job)
    found = EncodedClips(tmp_path / "out")
    assert len(found.clips) == 4
    assert not found.dropped


def test_other_weights_of_the_same_size_are_another_job(tmp_path) -> None:
    rows = written_rows(tmp_path, 1)
    model = tmp_path / "model"
    shutil.copytree(GOLDEN / "wan", model)
    settings = EncodeSettings(str(model), (SIZES["wan"],), 16.0, 2, "float32")
    run_job(plan_job(rows, settings, tmp_path, tmp_path / "out"))
    weights = model / "vae" / "diffusion_pytorch_model.safetensors"
    changed = {name: tensor * 1.5 for name, tensor in load_file(weights).items()}
    save_file(changed, weights, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="another job: encoders differ"):
        plan_job(rows, settings, tmp_path, tmp_path / "out")
