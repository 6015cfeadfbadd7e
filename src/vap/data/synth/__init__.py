"""VAP-Synth: a procedural counterpart of VAP-Data, rendered on demand and never downloaded."""

from vap.data.synth.registry import CONDITIONS
from vap.data.synth.sampling import (
    SPLITS,
    Split,
    SynthClip,
    SynthPair,
    pair_spec,
    sample_clip,
    sample_pair,
)
from vap.data.synth.schema import Condition

__all__ = [
    "CONDITIONS",
    "SPLITS",
    "Condition",
    "Split",
    "SynthClip",
    "SynthPair",
    "pair_spec",
    "sample_clip",
    "sample_pair",
]
