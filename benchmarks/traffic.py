"""What processes send each other, counted: the arithmetic behind the choice of a mesh.

Bytes are those that one process sends in one denoising step, on average over the processes; as
many arrive. Tests hold the counts against what is really sent.
"""

from __future__ import annotations

from dataclasses import dataclass

from vap.parallel.mesh import Mesh

_PASSES = 2


@dataclass(frozen=True, slots=True)
class Streams:
    """What of a model and a video decides how much is sent.

    Attributes:
        width: Of a token, D.
        blocks: Of the backbone.
        coupled: Blocks in which the target reads the references; in the last of them the
            references ask nothing any more.
        target: Tokens of the target in self-attention, S; of CogVideoX with its text.
        references: Those of all references, the same.
        video: Video tokens of the target, which are gathered at the end.
        output: Predicted values of a video token.
        shared: Tokens of an attention that both passes of guidance share where one process runs
            both; of Wan's first block, before any text has come in.
        bytes_per_value: Of a value in the transformer's precision.
        bytes_per_prediction: Of a value in the precision that guidance is applied in.
    """

    width: int
    blocks: int
    coupled: int
    target: int
    references: int
    video: int
    output: int
    shared: int = 0
    bytes_per_value: int = 2
    bytes_per_prediction: int = 2

    @property
    def queries(self) -> int:
        """Queries of all blocks together."""
        both = max(0, self.coupled - 1)
        return self.blocks * self.target + both * self.references

    @property
    def keys(self) -> int:
        """Keys of all blocks together."""
        return self.blocks * self.target + self.coupled * self.references


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes that a process sends in a step, by what they are for.

    Attributes:
        ulysses: Heads exchanged for tokens, and back.
        ring: Keys and values on their way around.
        gather: Predictions of the tokens.
        guidance: Predictions of a pass.
    """

    ulysses: float
    ring: float
    gather: float
    guidance: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.ulysses + self.ring + self.gather + self.guidance


def traffic(mesh: Mesh, streams: Streams, *, guided: bool = True) -> Traffic:
    """Count what a process of a mesh sends in a step.

    With P = R·U processes that share a pass, each holds S/P of the S tokens of an attention.
    Ulysses sends (U − 1)/U of its queries, keys, values and outputs; a ring sends the keys and
    values of U·S/P tokens and D/U of their width R − 1 times.
    """
    share = streams.width * streams.bytes_per_value / mesh.context
    passes = _PASSES // mesh.guidance if guided else 1
    shared = streams.shared * (passes - 1)
    queries, keys = passes * streams.queries - shared, passes * streams.keys - shared
    prediction = streams.video * streams.output
    per_token = streams.output * streams.bytes_per_value
    return Traffic(
        ulysses=share * 2 * (queries + keys) * (mesh.ulysses - 1) / mesh.ulysses,
        ring=share * 2 * keys * (mesh.ring - 1),
        gather=passes * streams.video / mesh.context * per_token * (mesh.context - 1),
        guidance=prediction * streams.bytes_per_prediction * (mesh.guidance - 1) * guided,
    )
