"""Model cards: what a repository of the Hub says of its files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vap.effects.effect import SUBJECT
from vap.effects.manifest import MANIFEST

if TYPE_CHECKING:  # effects are packaged without torch
    from vap.effects.effect import Effect
    from vap.models.expert_file import ExpertInfo

_LIBRARY = "video-as-prompt"
_TASK = "image-to-video"


def expert_card(info: ExpertInfo, repository: str, license_name: str, model: str, base: str) -> str:
    """Write the card of an expert.

    Args:
        info: Header of its file.
        repository: Where it goes.
        license_name: In the words of the Hub.
        model: The model that it is for, as one gives it to vap; empty if that is not said.
        base: The same on the Hub; empty if it is not there.
    """
    facts = {
        "transformer": info.transformer,
        "coupled blocks": ", ".join(map(str, info.depths)),
        "positions of references": info.reference_positions,
        "parameters": f"{info.parameters:,}",
    }
    named = model or "MODEL"
    body = [
        _plain(info.description) or "An expert: the trained second stream of Video-As-Prompt.",
        _use(
            f"vap generate --model {named} --expert {repository} --reference clip.mp4 "
            '--reference-prompt "What the clip shows, effect included." --image photo.jpg '
            '--prompt "What the video should show, effect included." -o out.mp4',
            f'pipeline = vap.load_pipeline("{named}", expert="{repository}")\n'
            'video = pipeline("photo.jpg", "a caption", reference_videos=["clip.mp4"]).frames[0]\n'
            'vap.write_video(video, "out.mp4", fps=pipeline.defaults.fps)',
        ),
        _table("Facts", facts),
    ]
    return _card(repository, license_name, base, ["expert"], body)


def lora_card(repository: str, license_name: str, model: str, base: str) -> str:
    """Write the card of a LoRA; the arguments are those of :func:`expert_card`."""
    named = model or "MODEL"
    file = "pytorch_lora_weights.safetensors"
    use = _use(
        f"hf download {repository} {file} --local-dir lora\n"
        f"vap generate --model {named} --lora lora/{file} --reference clip.mp4 "
        "--image photo.jpg -o out.mp4",
        f'pipeline = vap.load_pipeline("{named}", lora=[("lora/{file}", 1.0)])',
    )
    body = ["A LoRA for a model of Video-As-Prompt.", use]
    return _card(repository, license_name, base, ["lora"], body)


def effect_card(effect: Effect, repository: str, license_name: str, base: str) -> str:
    """Write the card of an effect; the arguments are those of :func:`expert_card`."""
    prompt = effect.prompt.replace(SUBJECT, "an owl on a branch") or "an owl on a branch"
    captions = {
        "reference": _plain(effect.reference_prompt),
        "result": _plain(effect.prompt),
        "suits": _plain(effect.hint),
        "model": _plain(effect.model),
        "author": _plain(effect.author),
    }
    body = [
        _plain(effect.description) or _plain(effect.title),
        _use(
            f"vap effect install {repository}\n"
            f"vap generate --effect {effect.name} --image photo.jpg -o out.mp4",
            "from vap.effects.library import find_effect, install\n\n"
            f'install("{repository}")\n'
            f'find_effect("{effect.name}").request()  # fields of a GenerationRequest',
        ),
        f"Example caption: {_plain(prompt)}",
        _table("Captions", {key: value for key, value in captions.items() if value}),
        f"The manifest is `{MANIFEST}`, in the format of openeffect.",
    ]
    tags = ["effect", *(" ".join(tag.split()) for tag in (effect.category, *effect.tags) if tag)]
    return _card(repository, license_name, base, tags, body)


def _card(repository: str, license_name: str, base: str, tags: list[str], body: list[str]) -> str:
    from huggingface_hub import ModelCardData

    data: dict[str, Any] = {"base_model": base} if base else {}
    metadata = ModelCardData(
        license=license_name,
        library_name=_LIBRARY,
        pipeline_tag=_TASK,
        tags=list(dict.fromkeys([_LIBRARY, *tags])),
        **data,
    )
    title = f"# {repository.partition('/')[2]}"
    return "\n\n".join([f"---\n{metadata.to_yaml()}\n---", title, *body]) + "\n"


def _use(command: str, code: str) -> str:
    return (
        "## Use it\n\n"
        f"```bash\npip install video-as-prompt\n{command}\n```\n\n"
        f"```python\nimport vap\n\n{code}\n```"
    )


def _table(title: str, rows: dict[str, str]) -> str:
    lines = [f"| {key} | {value.replace('|', '&#124;')} |" for key, value in rows.items()]
    return "\n".join([f"## {title}", "", "| | |", "|---|---|", *lines])


def _plain(text: str) -> str:
    """A text of others in one line, without Markdown or HTML of its own."""
    one_line = " ".join(text.split())
    return "".join(f"&#{ord(sign)};" if sign in "<>[]`*_#!" else sign for sign in one_line)
