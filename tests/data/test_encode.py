import errno
import itertools
import multiprocessing
import os
import shutil
import signal
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.data.encoding import GOLDEN, SIZES, job_of, written_rows
from vap.data.encode import choose_size, encode_shard, read_frames, run_job
from vap.data.encode_job import EncodeSettings, plan_job
from vap.data.encoded import MANIFEST, EncodedClips, shard_name
from vap.loading.pipeline import load_pipeline
from vap.media import MachineError, MediaError, MediaLimits, read_clip
from vap.shapes import PixelShape

KILLS = 10


class FakeEncoder:
    """Encodes without a model, and counts."""

    def __init__(self):
        self.captions = []

    def encode(self, frames, caption, _shape):
        self.captions.append(caption)
        latents = torch.full((2, 2), float(frames.mean()))
        return {"text": torch.ones(3, 4), "latents": latents, "condition": latents.clone()}

    def encode_text(self, _caption):
        return torch.ones(3, 4)


@pytest.fixture
def encoder(monkeypatch):
    """Stands in for the encoders of this process."""
    fake = FakeEncoder()
    monkeypatch.setattr("vap.data.encode._encoder", lambda *_: fake)
    return fake


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


@pytest.mark.slow
def test_killed_ten_times_it_ends_with_the_shards_of_an_unbroken_run(tmp_path) -> None:
    rows = written_rows(tmp_path / "clips", 2 * KILLS)
    places = [tmp_path / name for name in ("unbroken", "killed")]
    unbroken, killed = (job_of(rows, tmp_path / "clips", o, shard_size=1) for o in places)
    run_job(unbroken)
    # A server that has the modules loaded forks the processes that are killed.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vap.data.encode", "vap.data.clip_encoder"])
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


@pytest.mark.slow
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
    with pytest.raises(FileNotFoundError, match=r"shard-000000.*again to continue"):
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
    assert 1 in job.missing()
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


def test_a_second_job_is_refused_before_the_first_has_a_shard(clips, tmp_path) -> None:
    folder, rows = clips
    first = job_of(rows, folder, tmp_path)
    manifest = (tmp_path / MANIFEST).read_bytes()
    with pytest.raises(ValueError, match=r"started by another job: fps differ.*remove .*encoding"):
        plan_job(rows, replace(first.settings, fps=8.0), folder, tmp_path)
    assert (tmp_path / MANIFEST).read_bytes() == manifest
    assert job_of(rows, folder, tmp_path) == first
    assert contents(tmp_path).keys() == {MANIFEST}


def test_a_mixture_of_jobs_is_refused_however_it_came_about(clips, encoder, tmp_path) -> None:
    folder, rows = clips
    first = job_of(rows, folder, tmp_path)
    (tmp_path / MANIFEST).unlink()
    second = plan_job(rows, replace(first.settings, fps=8.0), folder, tmp_path)
    encode_shard(first, 1)
    run_job(second)
    with pytest.raises(ValueError, match=r"shard-000001.*does not belong to the job in encoding"):
        EncodedClips(tmp_path)
    (tmp_path / shard_name(1)).unlink()
    run_job(second)
    assert len(EncodedClips(tmp_path).clips) == len(rows)


def test_shards_without_a_manifest_are_nobodys(clips, encoder, tmp_path) -> None:
    folder, rows = clips
    run_job(job_of(rows, folder, tmp_path))
    (tmp_path / MANIFEST).unlink()
    with pytest.raises(FileNotFoundError, match=r"encoding\.json"):
        job_of(rows, folder, tmp_path)


def test_a_disk_that_fails_is_no_broken_clip(tmp_path, encoder, monkeypatch) -> None:
    rows = written_rows(tmp_path, 4)
    job = job_of(rows, tmp_path, tmp_path / "out")
    opened = Path.open

    def failing(path, *arguments, **options):
        if path.name == "2.mp4":
            raise OSError(errno.EIO, "Input/output error")
        return opened(path, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", failing)
        with pytest.raises(OSError, match=r"2\.mp4.*Input/output error.*run again"):
            run_job(job)
    assert 1 in job.missing()
    run_job(job)
    assert not EncodedClips(tmp_path / "out").dropped


def test_a_clip_that_fails_once_is_read_again(clips, encoder, tmp_path, monkeypatch) -> None:
    folder, rows = clips
    failed = set()

    def cut_off_at_first(path, settings):
        if path not in failed:
            failed.add(path)
            raise MediaError("its data is cut off after frame 3")
        return read_frames(path, settings)

    monkeypatch.setattr("vap.data.encode.read_frames", cut_off_at_first)
    run_job(job_of(rows, folder, tmp_path))
    assert not EncodedClips(tmp_path).dropped


def test_what_another_process_has_written_is_not_encoded_again(clips, encoder, tmp_path) -> None:
    folder, rows = clips
    job = job_of(rows, folder, tmp_path)

    def meanwhile(_what, _done, _total):
        for shard in job.missing():
            encode_shard(job, shard)

    run_job(job, progress=meanwhile)
    assert sorted(encoder.captions) == sorted(row.caption for row in rows)


@pytest.mark.slow
def test_what_a_worker_raises_is_raised(tmp_path) -> None:
    rows = written_rows(tmp_path, 4)
    job = job_of(rows, tmp_path, tmp_path / "out")
    for row in rows:
        (tmp_path / row.video).unlink()
    job = replace(job, settings=replace(job.settings, model=str(GOLDEN / "none")))
    with pytest.raises(FileNotFoundError, match="There is no model") as raised:
        run_job(job, workers=2)
    assert "encode_shard" in raised.value.__notes__[0]


def test_a_size_that_does_not_fit_is_refused_before_anything_is_written(clips, tmp_path) -> None:
    folder, rows = clips
    settings = EncodeSettings(str(GOLDEN / "wan"), (SIZES["wan"], PixelShape(18, 32, 48)))
    with pytest.raises(ValueError, match="num_frames=18 does not fit"):
        plan_job(rows, settings, folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("fps", [float("nan"), float("inf"), 0.0, -16.0])
def test_a_rate_that_is_none_is_refused(fps) -> None:
    with pytest.raises(ValueError, match=r"fps=.* is not a frame rate"):
        EncodeSettings("wan", (SIZES["wan"],), fps)


def test_frames_are_resized_one_by_one_to_the_same_pixels(clips, tmp_path, monkeypatch) -> None:
    folder, rows = clips
    path, size = folder / rows[0].video, SIZES["wan"]
    whole = read_clip(path, fps=16.0, frame_indices=[0, 1, 3, 4, 6]).frames
    expected = [
        np.asarray(Image.fromarray(frame).resize((size.width, size.height), Image.BICUBIC))
        for frame in whole
    ]
    # All frames at the clip's own size would be more than this.
    few = partial(MediaLimits, total_pixels=size.pixels)
    assert whole[..., 0].size > size.pixels
    monkeypatch.setattr("vap.media.clip.MediaLimits", few)
    shape, frames = read_frames(path, EncodeSettings("wan", (size,)))
    assert shape == size
    np.testing.assert_array_equal(frames, np.stack(expected))


@pytest.mark.parametrize(
    "note", ["[]", '{"clips": []}', '{"clips": [{"video": "a"}], "dropped": {}}', "half"]
)
def test_a_shard_of_other_notes_is_named(note, clips, encoder, tmp_path) -> None:
    folder, rows = clips
    run_job(job_of(rows[:2], folder, tmp_path))
    path = tmp_path / shard_name(0)
    save_file(load_file(path), path, metadata={"vap-encoded-clips": note})
    with pytest.raises(ValueError, match=r"shard-000000.* is damaged or not a shard"):
        EncodedClips(tmp_path)


@pytest.mark.parametrize("change", ["renamed", "surplus", "of a clip that is none"])
def test_a_shard_with_tensors_that_nothing_takes_or_some_missing_is_named(
    change, clips, encoder, tmp_path
) -> None:
    folder, rows = clips
    run_job(job_of(rows[:2], folder, tmp_path))
    path = tmp_path / shard_name(0)
    with safe_open(path, "pt") as shard:
        notes = shard.metadata()
    tensors = load_file(path)
    name = "9.text" if change.startswith("of") else "0.other"
    tensors[name] = tensors.pop("0.text") if change == "renamed" else tensors["0.text"].clone()
    save_file(tensors, path, metadata=notes)
    with pytest.raises(ValueError, match=r"shard-000000.* is damaged.*(0\.|9\.)"):
        EncodedClips(tmp_path)


def test_a_machine_that_runs_short_leaves_the_shard_for_later(
    clips, encoder, tmp_path, monkeypatch
) -> None:
    folder, rows = clips
    job = job_of(rows, folder, tmp_path)

    def short(*args, **kwargs):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr("vap.media.video.av.open", short)
        patched.setattr("vap.files.errors.memory_is_short", lambda: True)
        with pytest.raises(MachineError, match="ran short of memory"):
            run_job(job)
    assert len(job.missing()) == job.shards
    run_job(job)
    assert not EncodedClips(tmp_path).dropped


@pytest.mark.slow
def test_two_workers_of_a_cluster_write_the_shards_of_one_process(tmp_path, monkeypatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    rows = written_rows(tmp_path / "clips")
    alone = job_of(rows, tmp_path / "clips", tmp_path / "alone")
    run_job(alone)
    shared = job_of(rows, tmp_path / "clips", tmp_path / "shared")
    run_job(shared, ray="local", workers=2)
    expected = {path.name: path.read_bytes() for path in alone.output.iterdir()}
    assert {path.name: path.read_bytes() for path in shared.output.iterdir()} == expected
