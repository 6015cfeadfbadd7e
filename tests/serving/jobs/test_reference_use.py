import numpy as np
import pytest

from tests.evaluation.metrics.tiny import moving, texture
from vap.pipelines.reference_report import Influence, ReferenceReport, report_on
from vap.serving.jobs.reference_use import reference_use

RIGHT = moving(1, frames=17, height=96, width=96)
STILL = np.stack([texture(96, 96)] * 17)


@pytest.mark.parametrize(
    ("own", "verdict", "score"),
    [(RIGHT, "used", 1), (RIGHT[::-1], "weak", 1), (STILL, "ignored", 0)],
)
def test_the_verdict_tells_whether_the_reference_is_followed(own, verdict, score):
    report = report_on({"own": own, "none": STILL}, reference=RIGHT, captioned=True)
    use = reference_use(report)
    assert (use.verdict, use.score) == (verdict, pytest.approx(score))


def test_an_encoded_reference_cannot_be_followed_and_is_told_so():
    influence = Influence(0.5)
    use = reference_use(ReferenceReport(influence, influence, (), captioned=True))
    assert (use.verdict, use.score) == ("used", 0.5)
    assert "encoded" in use.message


def test_a_cut_is_told():
    report = ReferenceReport(Influence(0.5, 0.5), Influence(0.5, 0.5), (3,), captioned=False)
    assert "cut" in reference_use(report).message
