"""What a reference does to a video, in words for people who made it over HTTP."""

from __future__ import annotations

from vap.pipelines.reference_report import ReferenceReport
from vap.serving.jobs.job import ReferenceUse, Verdict

_SENTENCES: dict[Verdict, str] = {
    "used": "The video follows its reference.",
    "weak": (
        "The reference changes the video, but the video does not become more like it. Check "
        "whether the prompt names another effect; another seed or more reference guidance may "
        "help, too."
    ),
    "ignored": (
        "The video is nearly the same without its reference. Raise the strength to 1, or the "
        "reference guidance to 2."
    ),
}
_ENCODED = (
    "The reference changes the video. Whether the video becomes more like it cannot be measured, "
    "because the reference is encoded."
)


def reference_use(report: ReferenceReport) -> ReferenceUse:
    """Return the verdict of a report, and what to try."""
    verdict: Verdict = "used"
    if not report.makes_a_difference:
        verdict = "ignored"
    elif report.is_followed is False:
        verdict = "weak"
    unknown = verdict == "used" and report.is_followed is None
    message = [_ENCODED if unknown else _SENTENCES[verdict]]
    if report.cuts:
        message.append(
            "The reference has a cut, which the model mistakes for motion: trim it to the part "
            "with the effect."
        )
    if verdict != "used" and not report.captioned:
        message.append("The reference has no caption. Describe its effect in both prompts.")
    score = max(report.motion.difference, report.appearance.difference)
    return ReferenceUse(round(score, 3), verdict, " ".join(message))
