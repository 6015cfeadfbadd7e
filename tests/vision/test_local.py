from __future__ import annotations

import pytest

from tests.evaluation.metrics.tiny import moving
from tests.vision.tiny_chat import model_folder  # noqa: F401 - a fixture
from vap.evaluation.metrics.judged import Share
from vap.media import write_video
from vap.vision.chat import ChatModel
from vap.vision.local import LocalModel


def test_a_local_model_is_shown_texts_and_frames_in_order(model_folder, tmp_path, monkeypatch):  # noqa: F811
    videos = [write_video(moving(step), tmp_path / f"{step}.mp4", 8) for step in (1, 2)]
    model = LocalModel(
        model=str(model_folder),
        device="cpu",
        frames=2,
        max_new_tokens=4,
        cache=tmp_path,
        attempts=1,
    )
    model.check()
    with pytest.raises(ValueError, match="no answer of the form"):
        model.ask(["w1", videos[0], "w2", videos[1]], Share)  # random weights write no JSON
    seen = []

    def answer(self, content, max_new_tokens):
        seen.extend(part["type"] for part in content)
        return 'Sure: {"reason": "w3", "score": 0.5}'

    monkeypatch.setattr(ChatModel, "answer", answer)
    assert model.ask(["w1", videos[0], "w2", videos[1]], Share).score == 0.5
    assert seen == ["text", "image", "image", "text", "image", "image", "text"]


def test_a_local_model_that_is_not_here_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nobody/nothing"):
        LocalModel(model="nobody/nothing").check()
