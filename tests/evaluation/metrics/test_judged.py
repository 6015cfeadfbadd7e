from __future__ import annotations

import json

import pytest

from tests.evaluation.metrics.tiny import moving, sample_of
from tests.vision.services import service
from vap.evaluation.metrics.judged import Alignment, ContentLeakage, EffectFidelity, Occurrence
from vap.evaluation.metrics.registry import METRICS


@pytest.fixture
def server():
    with service() as served:
        yield served


@pytest.fixture
def judge(server, tmp_path):
    return {
        "kind": "openai",
        "model": "m",
        "base_url": server.url,
        "send": "video",
        "cache": str(tmp_path / "cache"),
    }


def answer(score):
    return json.dumps({"reason": f"because {score}", "score": score})


def texts(asked):
    return [part.get("text", "VIDEO") for part in asked[2]["messages"][0]["content"]]


def test_repeats_swap_the_order_of_the_videos_and_are_averaged(server, judge, tmp_path):
    metric = METRICS.build({"kind": "alignment", "name": "a", "judge": judge, "repeats": 3}, "x")
    server.plan = [answer(80), answer(60), answer(70)]
    value = metric.score(sample_of(tmp_path, moving(1)))
    assert value.value == pytest.approx(70)
    assert value.details["scores"] == [80, 60, 70]
    assert value.details["reasons"][1] == "because 60"
    orders = [texts(asked)[1] for asked in server.asked]
    assert orders == ["The reference video:", "The generated video:", "The reference video:"]


def test_the_rubric_of_the_condition_is_asked_and_part_of_the_identity(server, judge, tmp_path):
    rubric = tmp_path / "rubric.yaml"
    rubric.write_text("version: 2\ndefault: any\nconditions: {melt: It must drip.}\n")
    metric = Alignment(name="a", judge=judge, rubric=rubric, repeats=1)
    server.plan = [answer(100)]
    assert metric.score(sample_of(tmp_path, moving(1))).value == 100
    assert any("It must drip." in text for text in texts(server.asked[0]))
    assert any('"melt"' in text for text in texts(server.asked[0]))
    other = Alignment(name="a", judge=judge, repeats=1)
    assert metric.identity() != other.identity()
    assert metric.identity()["rubric"]["version"] == 2


@pytest.mark.parametrize("kind", [Occurrence, EffectFidelity, ContentLeakage])
def test_each_question_is_another_and_its_answer_a_share(server, judge, tmp_path, kind):
    metric = kind(name="x", judge=judge, repeats=1)
    server.plan = [answer(55), answer(0.25)]  # not from 0 to 1 at first
    assert metric.score(sample_of(tmp_path, moving(1))).value == 0.25
    questions = {each(name="x", judge=judge).question("melt") for each in (Occurrence, Alignment)}
    assert kind is Occurrence or metric.question("melt") not in questions


def test_ready_made_metrics_name_the_key_that_is_missing(monkeypatch):
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    for name in ("alignment", "occurrence", "effect-fidelity", "content-leakage"):
        with pytest.raises(ValueError, match="GEMINI_API_KEY"):
            METRICS.read(name).check()


def test_unknown_judges_are_refused(judge):
    with pytest.raises(ValueError, match="kind"):
        METRICS.build({"kind": "alignment", "name": "a", "judge": {"kind": "oracle"}}, "x")
