"""Two processes give one process's result: attention, transformers, whole pipelines."""

from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.traffic import Streams, traffic
from torch.nn.functional import scaled_dot_product_attention

from tests.parallel.counting import bytes_sent
from tests.parallel.together import found_together
from tests.pipelines.golden import FAMILIES, golden, relative_error
from vap.parallel import Mesh, parallelize
from vap.parallel.attention import ContextAttention
from vap.parallel.mesh import Groups
from vap.parallel.tokens import TokenCounts, own_share

pytestmark = pytest.mark.slow

CLOSE = 1e-5
STEPS = 2
MESHES = ("ulysses=2", "ring=2", "guidance=2")


def attention_error(mesh: Mesh, target: int = 13, reference: int = 8, heads: int = 3) -> float:
    """How far attention apart is from attention in one place; nothing divides evenly."""
    groups = Groups.of(mesh)
    counts = TokenCounts(groups.context)
    generator = torch.Generator().manual_seed(0)

    def stream(tokens: int) -> torch.Tensor:
        return torch.randn(2, tokens, heads, 16, generator=generator)

    streams = [[stream(target), stream(reference)] for _ in "qkv"]
    counts.note(
        {
            "hidden_states": streams[0][0].flatten(2),
            "reference_hidden_states": streams[0][1].flatten(2),
        }
    )
    mine = [torch.cat([own_share(s, 1, groups.context) for s in both], 1) for both in streams]
    output = ContextAttention(groups, counts).attend(*mine, None)
    whole = scaled_dot_product_attention(*(torch.cat(s, 1).transpose(1, 2) for s in streams))
    expected = whole.transpose(1, 2).split([target, reference], 1)
    return relative_error(output, torch.cat([own_share(s, 1, groups.context) for s in expected], 1))


def pipeline_errors(family: str, meshes: tuple[str, ...]) -> dict[str, Any]:
    """Of calls with a reference, half a reference and none, in a size that does not divide."""
    odd = {"width": 48, "latents": None} if family == "wan" else {}
    calls: dict[str, dict[str, Any]] = {
        "reference": {},
        "half": {"strength": 0.5},
        "alone": {"reference_videos": None, "reference_prompts": None},
        "unguided": {"guidance_scale": 1.0},
        "three passes": {"reference_guidance_scale": 2.0},
    }
    alone = golden(family)
    expected = {name: alone.run(alone.prompted(**odd, **call)) for name, call in calls.items()}
    errors: dict[str, Any] = {}
    for text in meshes:
        together = golden(family)
        batches: list[int] = []
        parallelize(together.pipeline, Mesh.parse(text))
        together.pipeline.transformer.register_forward_pre_hook(
            lambda _, __, given, batches=batches: batches.append(len(given["hidden_states"])),
            with_kwargs=True,
        )
        forwards = errors[f"{family} {text} forwards"] = {}
        for name, call in calls.items():
            del batches[:]
            with bytes_sent() as sent:
                output = together.run(together.prompted(**odd, **call))
            errors[f"{family} {text} {name}"] = relative_error(output, expected[name])
            if name == "reference":
                errors[f"{family} {text} sent"] = sent
            forwards[name] = sum(batches) // STEPS
    return errors


def streams(family: str) -> Streams:
    """Of the calls above: 27 and 36 video tokens, and CogVideoX's 226 of text."""
    config = golden(family).pipeline.transformer.config
    video, text = (27, 0) if family == "wan" else (36, 226)
    return Streams(
        width=config.num_attention_heads * config.attention_head_dim,
        blocks=config.num_layers,
        coupled=len(config.block_idx_with_mot_ref),
        target=video + text,
        references=video + text,
        video=video,
        output=config.out_channels * 4,
        shared=2 * video if family == "wan" else 0,
        bytes_per_value=4,
        bytes_per_prediction=4,
    )


def check() -> dict[str, Any]:
    found = {f"attention {text}": attention_error(Mesh.parse(text)) for text in MESHES[:2]}
    for family in FAMILIES:
        found |= pipeline_errors(family, MESHES)
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> list[dict[str, Any]]:
    return found_together(check, 2, Path(tmp_path_factory.mktemp("two")))


@pytest.mark.parametrize("mesh", MESHES[:2])
def test_attention_is_that_of_one_process(found, mesh):
    for rank in found:
        assert rank[f"attention {mesh}"] < CLOSE


@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("call", ["reference", "half", "alone", "unguided", "three passes"])
def test_a_pipelines_latents_are_those_of_one_process(found, family, mesh, call):
    for rank in found:
        assert rank[f"{family} {mesh} {call}"] < CLOSE


@pytest.mark.parametrize("family", FAMILIES)
def test_guidance_apart_halves_each_processs_forwards(found, family):
    for place, rank in enumerate(found):
        both, apart = (rank[f"{family} {mesh} forwards"] for mesh in ("ring=2", "guidance=2"))
        guided = ("reference", "half", "alone")
        assert {(both[call], apart[call]) for call in guided} == {(2, 1)}
        assert (both["unguided"], apart["unguided"]) == (1, 1)
        # The odd one of three falls to the first process.
        assert (both["three passes"], apart["three passes"]) == (3, 2 - place)


@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize("family", FAMILIES)
def test_as_many_bytes_are_sent_as_are_counted_on_paper(found, family, mesh):
    expected, steps = traffic(Mesh.parse(mesh), streams(family)), STEPS
    mean = {
        what: sum(rank[f"{family} {mesh} sent"][what] for rank in found) / len(found) / steps
        for what in ("exchanged", "passed on", "gathered")
    }
    assert mean["exchanged"] == expected.ulysses
    assert mean["passed on"] == expected.ring
    # Parts of one length are gathered, so the shorter part is filled up by a token.
    assert mean["gathered"] == pytest.approx(expected.gather + expected.guidance, rel=0.04)
