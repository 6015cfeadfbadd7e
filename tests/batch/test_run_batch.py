import json
import os
import shutil
import signal
import subprocess
import sys
import weakref
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.batch.making import MODEL, lines_of, requests_of
from tests.captioning.conftest import server  # noqa: F401 - a fixture
from tests.vision.conftest import no_certificates  # noqa: F401 - the same client
from vap.batch import run_batch as run
from vap.batch import worker
from vap.batch.ledger import BatchFolder, Outcome
from vap.batch.run_batch import Workers, run_batch
from vap.extras import MissingExtraError
from vap.generation import loaded as loaded_model
from vap.generation.run import generate, load_for
from vap.media import MediaError, read_run
from vap.parallel import ray_cluster

pytestmark = pytest.mark.slow  # many whole runs


@pytest.fixture
def loaded(monkeypatch) -> list[str]:
    """Models as they are loaded."""
    names: list[str] = []

    def load(request):
        names.append(request.model)
        return load_for(request)

    monkeypatch.setattr(loaded_model, "load_for", load)
    return names


@pytest.fixture
def made(monkeypatch) -> list[str]:
    """Prompts of the requests as they are made; one that says "fault" breaks."""
    prompts: list[str] = []

    def make(request, *arguments, **options):
        prompts.append(request.prompt)
        if "fault" in request.prompt:
            raise RuntimeError("broken")
        return generate(request, *arguments, **options)

    monkeypatch.setattr(worker, "generate", make)
    return prompts


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def manifest(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").open()]


def test_videos_records_and_a_manifest_are_written(inputs, tmp_path):
    output = tmp_path / "out"
    requests = requests_of({"name": "a"}, {"name": "b", "references": ["clip.mp4"]}, folder=inputs)
    outcomes: list[Outcome] = []
    summary = run_batch(requests, output, file_format="gif", on_outcome=outcomes.append)
    assert (summary.requests, summary.done, summary.failed, summary.skipped) == (2, 2, 0, 0)
    assert files(output) == {
        *("a.gif", "a.gif.json", "b.gif", "b.gif.json"),
        *("ledger", "manifest.jsonl"),
    }
    assert [outcome.name for outcome in outcomes] == ["a", "b"]
    first, second = manifest(output)
    assert (first["status"], first["output"], first["error"]) == ("done", "a.gif", None)
    assert set(second["seconds"]) == {"encode", "generate"}
    assert read_run(output / second["record"]).inputs[1].name == "clip.mp4"


def test_what_is_done_is_skipped_and_what_changed_is_made_anew(inputs, tmp_path, made):
    lines = [{"name": name, "prompt": name} for name in "abc"]
    run_batch(requests_of(*lines, folder=inputs), tmp_path)
    made.clear()
    (tmp_path / "b.mp4").unlink()
    lines[2]["prompt"] = "changed"
    summary = run_batch(requests_of(*lines, folder=inputs), tmp_path)
    assert made == ["b", "changed"]
    assert (summary.done, summary.skipped) == (3, 1)


def test_what_another_run_has_made_meanwhile_is_not_made_again(inputs, tmp_path, made):
    requests = requests_of(*({"name": name, "prompt": name} for name in "abc"), folder=inputs)
    # Between two videos of this run, another makes all that is left.
    summary = run_batch(requests, tmp_path, on_outcome=lambda _: run_batch(requests, tmp_path))
    assert made == ["a", "b", "c"]
    assert (summary.done, summary.skipped) == (3, 0)


def test_two_runs_side_by_side_share_the_work(inputs, tmp_path, made, monkeypatch):
    requests = requests_of(*({"name": name, "prompt": name} for name in "abc"), folder=inputs)
    other = run._one_by_one(BatchFolder(tmp_path, ".mp4", "other"), requests, None)
    noted, taken = worker.generate, []

    def make(request, *arguments, **options):
        if request.prompt == "a":  # this run is at its first video when the other comes to it
            taken.append(next(other).name)
        return noted(request, *arguments, **options)

    monkeypatch.setattr(worker, "generate", make)
    run_batch(requests, tmp_path)
    assert [*taken, *(outcome.name for outcome in other)] == ["b", "c", "a"]
    assert made == ["b", "a", "c"]


def test_a_ledger_is_read_once_before_the_work(inputs, tmp_path, made, monkeypatch):
    requests = requests_of({"name": "a"}, {"name": "b"}, folder=inputs)
    run_batch(requests, tmp_path)
    find, reads = BatchFolder._of_its_words, []
    monkeypatch.setattr(
        BatchFolder,
        "_of_its_words",
        lambda ledger, request: reads.append(f"{request.name}.json") or find(ledger, request),
    )
    before = []
    run_batch(requests, tmp_path, on_start=lambda _: before.extend(reads))
    assert before == ["a.json", "b.json"]


def test_requests_are_checked_before_torch_is_imported():
    code = "import sys, vap.batch.run_batch; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_model_is_loaded_in_the_given_context(inputs, tmp_path):
    entered = []

    @contextmanager
    def loading(model):
        entered.append(model)
        yield
        entered.append("done")

    run_batch(requests_of({"seed": 1}, {"seed": 2}, folder=inputs), tmp_path, loading=loading)
    assert entered == [str(MODEL), "done"]


def test_another_format_is_another_video(inputs, tmp_path, made):
    requests = requests_of({"name": "a"}, folder=inputs)
    run_batch(requests, tmp_path)
    assert run_batch(requests, tmp_path, file_format="webm").skipped == 0
    assert {"a.mp4", "a.webm"} <= files(tmp_path)
    assert len(made) == 2


def test_videos_of_other_files_are_neither_taken_nor_overwritten(inputs, tmp_path, made):
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(inputs / "other.mp4", other / "clip.mp4")
    shutil.copy(inputs / "image.png", other / "image.png")
    lines = [{"name": "a", "references": ["clip.mp4"]}]
    output = tmp_path / "out"
    run_batch(requests_of(*lines, folder=inputs), output)
    before = (output / "a.mp4").read_bytes()
    with pytest.raises(ValueError, match=r"made from different files: a\. Choose another"):
        run_batch(requests_of(*lines, folder=other), output)
    assert (output / "a.mp4").read_bytes() == before
    assert run_batch(requests_of(*lines, folder=inputs), output).skipped == 1
    assert len(made) == 1


def test_a_batch_that_was_moved_goes_on(inputs, tmp_path, made):
    lines = [{"name": "a", "references": ["clip.mp4"]}]
    run_batch(requests_of(*lines, folder=inputs), tmp_path / "out")
    shutil.copytree(inputs, tmp_path / "elsewhere")
    shutil.move(tmp_path / "out", tmp_path / "elsewhere" / "out")
    moved = requests_of(*lines, folder=tmp_path / "elsewhere")
    assert run_batch(moved, tmp_path / "elsewhere" / "out").skipped == 1
    assert len(made) == 1


def test_a_video_is_not_written_over_its_own_input(inputs, tmp_path, made):
    clip = Path(shutil.copy(inputs / "clip.mp4", tmp_path / "a.mp4"))
    requests = requests_of({"name": "a", "references": [str(clip)]}, folder=inputs)
    with pytest.raises(ValueError, match=r"a: .*would overwrite the input"):
        run_batch(requests, tmp_path)
    outcome = worker.Worker(BatchFolder(tmp_path, ".mp4", "run")).make(requests[0])
    assert "would overwrite the input" in outcome.error["message"]
    assert clip.read_bytes() == (inputs / "clip.mp4").read_bytes()
    assert made == []


def test_a_file_is_no_folder_of_a_batch(inputs, tmp_path):
    (tmp_path / "afile").touch()
    with pytest.raises(MediaError, match="a file, not a folder"):
        run_batch(requests_of({}, folder=inputs), tmp_path / "afile")


def test_a_failure_stops_nobody_and_is_tried_again_only_if_asked(inputs, tmp_path, made):
    requests = requests_of(
        {"name": "a", "prompt": "fault"},
        {"name": "b", "image": "text.png"},
        {"name": "c", "prompt": "fine"},
        folder=inputs,
    )
    (inputs / "text.png").write_text("non-finite values")
    summary = run_batch(requests, tmp_path)
    assert (summary.done, summary.failed) == (1, 2)
    errors = [line["error"] for line in manifest(tmp_path)]
    assert errors[0] == {"type": "RuntimeError", "message": "broken"}
    assert "text.png" in errors[1]["message"]
    made.clear()
    assert run_batch(requests, tmp_path).failed == 2
    assert made == []
    assert run_batch(requests, tmp_path, retry_failed=True).failed == 2
    assert made == ["fault", ""]


def test_what_cannot_be_made_is_told_before_anything_is_loaded(inputs, tmp_path, made, loaded):
    (tmp_path / "c.mp4").mkdir()
    requests = requests_of(
        {"name": "a", "image": "missing.png"},
        {"name": "b", "references": ["missing.mp4"]},
        {"name": "c"},
        {"name": "d", "num_inference_steps": 10**9},
        {"name": "e", "references": ["clip.mp4"] * 1000},
        {"name": "f", "width": 10**300},
        {"name": "fine"},
        folder=inputs,
    )
    with pytest.raises(ValueError, match=r"(?s)a: .*b: .*c: .*d: .*e: .*f: ") as caught:
        run_batch(requests, tmp_path)
    assert "missing.mp4" in str(caught.value)
    assert "fine" not in str(caught.value)
    assert (made, loaded) == ([], [])
    assert run_batch(requests[-1:], tmp_path).done == 1


def test_a_folder_in_the_place_of_a_video_is_no_video(inputs, tmp_path, made):
    requests = requests_of({"name": "a"}, folder=inputs)
    run_batch(requests, tmp_path)
    (tmp_path / "a.mp4").unlink()
    (tmp_path / "a.mp4").mkdir()
    with pytest.raises(ValueError, match=r"a\.mp4: it is a folder"):
        run_batch(requests, tmp_path)


def test_a_model_stays_loaded_and_one_that_cannot_be_is_tried_once(inputs, tmp_path, loaded):
    none = str(tmp_path / "none")
    shutil.copytree(MODEL, none, ignore=shutil.ignore_patterns("*.safetensors"))
    lines = [{"seed": seed, "model": model} for seed in (1, 2) for model in (none, str(MODEL))]
    summary = run_batch(requests_of(*lines, folder=inputs), tmp_path)
    assert (summary.done, summary.failed) == (2, 2)
    assert sorted(loaded) == sorted([none, str(MODEL)])


def test_references_of_the_same_content_are_encoded_once(inputs, tmp_path, monkeypatch):
    held: list[worker.Worker] = []
    build = worker.Worker.__init__

    def keep(self, *arguments):
        build(self, *arguments)
        held.append(self)

    monkeypatch.setattr(worker.Worker, "__init__", keep)
    clips = ("clip.mp4", "copy.mp4", "clip.mp4", "other.mp4")
    lines = [{"seed": seed, "references": [clip]} for seed, clip in enumerate(clips)]
    lines.append({"references": ["clip.mp4"], "frame_selection": "first"})
    lines.append({"references": ["clip.mp4"], "reference_prompts": ["it turns"]})
    requests = requests_of(*lines, folder=inputs)
    run_batch(requests, tmp_path)
    assert held[0]._prompts.encoded == 4
    records = [read_run(tmp_path / f"{request.name}.mp4") for request in requests]
    assert [record.inputs[1].name for record in records[:4]] == list(clips)
    assert records[5].reference_prompts == ("it turns",)


def test_captions_that_a_request_lacks_are_written(inputs, tmp_path, made, server, monkeypatch):  # noqa: F811
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("VAP_CAPTIONER", f"openai:{server.url}#m")
    lines = [{"references": ["clip.mp4"], "seed": seed} for seed in (1, 2)]
    lines.append({"effect": "burn"})
    requests = requests_of(*lines, folder=inputs)
    making = worker.Worker(BatchFolder(tmp_path, ".mp4", "run"))
    assert [making.make(request).status for request in requests] == ["done"] * 3
    assert made == ["caption 2", "caption 2", "caption 3"]
    record = read_run(tmp_path / f"{requests[2].name}.mp4")
    assert record.arguments["captions_by"] == "openai:m, instructions 1"
    assert record.arguments["effect"] == "vap/burn"


@pytest.mark.parametrize(("module", "breaks"), [(loaded_model, "load_for"), (worker, "generate")])
def test_what_a_failure_held_in_memory_is_free_kept(module, breaks, inputs, tmp_path, monkeypatch):
    class Weights:
        pass

    alive = []

    def fail(*_, **__):
        weights = Weights()
        alive.append(weakref.ref(weights))
        raise MemoryError

    monkeypatch.setattr(loaded_model, "load_for", lambda _: None)
    monkeypatch.setattr(module, breaks, fail)
    making = worker.Worker(BatchFolder(tmp_path, ".mp4", "run"))
    assert making.make(requests_of({}, folder=inputs)[0]).status == "failed"
    assert alive[0]() is None


def test_a_request_that_ends_its_process_is_given_up(inputs, tmp_path, made):
    (request,) = requests_of({"prompt": "deadly"}, folder=inputs)
    batch = BatchFolder(tmp_path, ".mp4", "this run")
    for attempt in (1, 2, 3):
        batch.write(
            Outcome(
                request.name,
                request.digest,
                "started",
                request.inputs,
                run="this run",
                attempts=attempt,
            )
        )
    outcome = worker.Worker(batch).make(request)
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert "ended unexpectedly 3 times" in outcome.error["message"]
    assert made == []
    # Another run of the batch starts counting anew.
    outcome = worker.Worker(BatchFolder(tmp_path, ".mp4", "later")).make(request)
    assert (outcome.status, outcome.attempts) == ("done", 1)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
def test_after_a_kill_the_rest_is_made(inputs, tmp_path):
    (inputs / "requests.jsonl").write_text(lines_of(*({"name": f"v{i}"} for i in range(200))))
    command = [sys.executable, "-m", "vap", "batch", str(inputs / "requests.jsonl")]
    ledger = tmp_path / "ledger"
    with subprocess.Popen(
        [*command, "-o", str(tmp_path)], env={**os.environ, "OMP_NUM_THREADS": "1"}
    ) as process:
        while not any('"done"' in path.read_text() for path in ledger.glob("v1.json")):
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.mp4")}
    assert 2 <= len(before) < 200
    requests = requests_of(*({"name": f"v{i}"} for i in range(4)), folder=inputs)
    summary = run_batch(requests, tmp_path)
    assert summary.done == 4
    assert summary.skipped >= 2
    assert all(path.stat().st_mtime_ns == before[path] for path in list(before)[: summary.skipped])
    assert not [*tmp_path.rglob(".*")]


def test_workers_are_one_unless_there_is_more_to_use(monkeypatch):
    assert Workers().address() is None
    assert Workers(2).address() == "local"
    assert Workers(1, ray="auto").address() == "auto"
    monkeypatch.setattr(run, "_gpus", lambda: 8)
    assert Workers(1).address() is None
    assert Workers().address() == "local"
    monkeypatch.setattr(run, "_has_ray", lambda: False)
    assert Workers().address() is None
    with pytest.raises(ValueError, match="workers=0"):
        Workers(0).address()


def test_several_workers_need_ray(inputs, tmp_path, monkeypatch):
    def missing(module, **_):
        raise MissingExtraError(module)

    monkeypatch.setattr(ray_cluster, "require", missing)
    with pytest.raises(MissingExtraError, match="ray"):
        run_batch(requests_of({}, folder=inputs), tmp_path, workers=Workers(2))
