import shutil
from dataclasses import replace

import pytest
from PIL import Image

from vap.effects.library import find_effect
from vap.files.names import BUNDLED_FOLDER
from vap.generation.run import generate, save
from vap.loading.pipeline import load_transformer
from vap.media import read_clip
from vap.media.files import hash_file
from vap.media.records import read_metadata
from vap.serving.jobs.make_video import VideoMaker
from vap.serving.jobs.model_process import Task
from vap.serving.jobs.request import VideoRequest
from vap.serving.jobs.resolve import frames_of, prompt_key, resolve, upload_key
from vap.serving.media_store import MediaStore
from vap.serving.settings import ExpertFile
from vap.serving.uploads.check import RefusedUploadError

IMAGE, VIDEO, SAVED = "file_00000000", "file_11111111", "prompt_22222222"
DEMO = BUNDLED_FOLDER / "demo"


class Recorded:
    """A report that only notes."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.steps: list[tuple[int, int]] = []
        self.previews: list[tuple[int, tuple[int, int]]] = []

    def stage(self, name):
        self.stages.append(name)

    def step(self, done, total, preview=None):
        self.steps.append((done, total))
        if preview is not None:
            with Image.open(preview) as shown:
                self.previews.append((shown.n_frames, shown.size))


@pytest.fixture
def media(settings, tmp_path) -> MediaStore:
    store = MediaStore(settings.media_url)
    store.put(upload_key(IMAGE), DEMO / "image.png")
    store.put(upload_key(VIDEO), DEMO / "reference.mp4")
    saved = tmp_path / "saved"
    saved.touch()
    store.put(prompt_key(SAVED), saved)
    return store


@pytest.fixture
def task(settings, tmp_path) -> Task:
    folder = tmp_path / "task"
    folder.mkdir()
    return Task("video_1", VideoRequest(image=IMAGE), "vap-mini", 5, folder, settings)


def asking(task: Task, **fields) -> Task:
    return replace(task, request=VideoRequest(image=IMAGE, **fields))


def again(task: Task, name: str) -> Task:
    """A task like another one, in a folder of its own."""
    folder = task.folder.with_name(name)
    folder.mkdir()
    return replace(task, folder=folder)


def test_ids_become_files_and_what_is_not_asked_is_left_to_the_model(media, task):
    request = resolve(
        asking(task, references=[{"upload": VIDEO}], prompt="it turns"), media
    ).request
    assert request.image.read_bytes() == (DEMO / "image.png").read_bytes()
    assert [path.name for path in request.references] == [VIDEO]
    assert (request.prompt, request.seed, request.model) == ("it turns", 5, "vap-mini")
    assert (request.height, request.num_frames, request.num_inference_steps) == (None, None, None)
    assert request.strength == 1.0


def test_size_length_and_settings_are_those_asked(media, task):
    asked = {"size": "96x64", "seconds": 1.1, "num_inference_steps": 2, "strength": 0.5}
    request = resolve(asking(task, **asked), media).request
    assert (request.width, request.height) == (96, 64)
    assert request.num_frames == frames_of("vap-mini", 1.1) == 9
    assert (request.num_inference_steps, request.strength) == (2, 0.5)


def test_an_effect_brings_its_reference_and_what_is_asked_wins(media, task):
    effect = find_effect("burn")
    request = resolve(asking(task, references=[{"effect": "burn"}]), media).request
    assert (request.references, request.video_prompt) == (
        () if effect.reference is None else (effect.reference,),
        effect.video_prompt,
    )
    assert request.effect == effect.id
    asked = asking(task, references=[{"effect": "burn"}], guidance_scale=1.5, prompt="it burns")
    request = resolve(asked, media).request
    assert (request.guidance_scale, request.prompt) == (1.5, "it burns")


def test_an_expert_is_a_file_by_its_name(media, task, settings, tmp_path):
    file = tmp_path / "melt.safetensors"
    experts = settings.model_copy(update={"experts": {"melt": ExpertFile(file=file)}})
    asked = replace(asking(task, expert="melt"), settings=experts)
    assert resolve(asked, media).request.expert == file
    assert resolve(asking(task, expert="vap-mini"), media).request.expert is None
    with pytest.raises(FileNotFoundError, match="melt"):
        resolve(asking(task, expert="melt"), media)


def test_encoded_references_are_one_file(media, task):
    request = resolve(asking(task, references=[{"prompt": SAVED}]), media).request
    assert request.video_prompt.name == f"{SAVED}.safetensors"


@pytest.mark.parametrize("name", ["upload", "prompt", "effect"])
def test_what_is_gone_is_told(name, media, task):
    with pytest.raises(FileNotFoundError):
        resolve(asking(task, references=[{name: "gone_33333333"}]), media)


def test_media_elsewhere_are_copied(task, settings, tmp_path):
    store = MediaStore("memory://vap-test")
    store.put(upload_key(IMAGE), DEMO / "image.png")
    request = resolve(task, store).request
    assert request.image.parent == task.folder
    assert request.image.read_bytes() == (DEMO / "image.png").read_bytes()
    assert list(store.sizes()) == [upload_key(IMAGE)]
    store.delete("uploads")
    assert not store.sizes()


def test_a_video_is_made_with_its_record_and_thumbnail(media, task, tmp_path):
    report, maker = Recorded(), VideoMaker()
    asked = asking(
        task,
        references=[{"upload": VIDEO}],
        prompt="it turns",
        num_frames=5,
        num_inference_steps=2,
        guidance_scale=1.0,
    )
    result = maker(asked, report)
    clip = read_clip(result.video)
    assert clip.frames.shape == (5, 64, 96, 3)
    assert result.size == "96x64"
    assert report.steps == [(1, 2), (2, 2)]
    assert report.stages == ["check", "caption", "load", "encode", "generate", "write"]
    assert report.previews[0] == (2, (12, 8))
    assert read_metadata(result.video)["seed"] == 5
    with Image.open(result.thumbnail) as thumbnail:
        assert thumbnail.size == (96, 64)
    assert result.reference_use is None
    # The same bytes as without decoding in another process, the record's hashes included.
    direct = generate(resolve(asked, media).request)
    save(direct, tmp_path / "video.mp4")
    assert result.video.read_bytes() == (tmp_path / "video.mp4").read_bytes()
    first = result.video.read_bytes()
    shutil.rmtree(task.folder)
    task.folder.mkdir()
    assert maker(asked, Recorded()).video.read_bytes() == first


def test_a_part_of_a_reference_makes_the_video_of_that_part(media, task):
    small = {"prompt": "it turns", "num_frames": 5, "num_inference_steps": 1}
    whole, part = (
        VideoMaker()(asking(again(task, name), references=[reference], **small), Recorded())
        for name, reference in (
            ("whole", {"upload": VIDEO}),
            ("part", {"upload": VIDEO, "start": 0.25, "end": 0.75}),
        )
    )
    digests = [read_metadata(each.video)["inputs"][1]["sha256"] for each in (whole, part)]
    assert digests[0] == hash_file(DEMO / "reference.mp4") != digests[1]
    assert (read_clip(whole.video).frames != read_clip(part.video).frames).any()


def test_a_video_is_compared_with_the_one_without_its_reference(media, task):
    report = Recorded()
    asked = asking(
        task,
        references=[{"upload": VIDEO}],
        check_reference=True,
        num_frames=5,
        num_inference_steps=2,
        guidance_scale=1.0,
    )
    use = VideoMaker()(asked, report).reference_use
    assert use.verdict in {"used", "weak", "ignored"}
    assert 0 <= use.score <= 1
    assert report.steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.slow
def test_an_expert_file_takes_the_place_of_the_model_s_own(media, task, settings, tmp_path):
    transformer = load_transformer("vap-mini")
    experts = {name: ExpertFile(file=tmp_path / name) for name in ("same", "other")}
    transformer.save_expert(experts["same"].file)
    for name, parameter in transformer.named_parameters():
        if "_mot_ref" in name:
            parameter.data.mul_(0.5)
    transformer.save_expert(experts["other"].file)
    small = {"num_frames": 5, "num_inference_steps": 1, "references": [{"upload": VIDEO}]}
    offered = settings.model_copy(update={"experts": experts})
    own, same, other = (
        read_clip(
            VideoMaker()(
                replace(
                    asking(again(task, f"with-{name}"), expert=name, **small), settings=offered
                ),
                Recorded(),
            ).video
        ).frames
        for name in (None, "same", "other")
    )
    assert (own == same).all()
    assert (own != other).any()


def test_a_damaged_upload_fails_before_the_model_process_reads_it(media, task, settings, tmp_path):
    broken = tmp_path / "broken"
    broken.write_bytes((DEMO / "reference.mp4").read_bytes()[:2000])
    media.put(upload_key(VIDEO), broken)
    with pytest.raises(RefusedUploadError):
        VideoMaker()(asking(task, references=[{"upload": VIDEO}]), Recorded())
