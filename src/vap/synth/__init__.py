"""VAP-Synth: a procedural counterpart of VAP-Data, rendered on demand and never downloaded.

A *clip* plays one of 100 semantic conditions, an effect over time with parameters, on a layered
scene. A *pair* of clips shares the condition and its parameters and nothing else, so that what a
reference shows is exactly what its target must do; the true target can always be rendered.
"""

from vap.synth.clip_spec import ClipSpec, SynthClip
from vap.synth.condition import Condition
from vap.synth.pairs import (
    SPLITS,
    Split,
    SynthPair,
    conditions_of,
    pair_spec,
    sample_clip,
    sample_pair,
)
from vap.synth.registry import CONDITIONS

__all__ = [
    "CONDITIONS",
    "SPLITS",
    "ClipSpec",
    "Condition",
    "Split",
    "SynthClip",
    "SynthPair",
    "conditions_of",
    "pair_spec",
    "sample_clip",
    "sample_pair",
]
