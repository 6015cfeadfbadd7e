from tests.captioning.conftest import server, texts_of  # noqa: F401 - a fixture
from tests.data.clips_on_disk import inspected, made_clip
from tests.vision.conftest import no_certificates  # noqa: F401 - the same client
from vap.captioning.instructions import instructions
from vap.data.vlm import ModelCaptioner


def test_a_clip_is_described_with_its_effect(server, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    captioner = ModelCaptioner.named(f"openai:{server.url}#m")
    clip = inspected(made_clip(tmp_path / "a.mp4"))
    assert captioner.caption(clip) == captioner.caption(clip) == "caption 1"
    ((_, _, body),) = server.asked
    assert instructions().described.reference in texts_of(body)


def test_a_folder_or_hub_id_is_a_local_model(monkeypatch):
    monkeypatch.setattr("vap.vision.local.LocalModel.check", lambda _: None)
    for name in ("owner/name", "local:owner/name"):
        assert ModelCaptioner.named(name).writer.name.startswith("local:owner/name")
