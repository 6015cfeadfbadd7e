"""What of an expert, a LoRA or an effect is shared: files, license and card."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from vap.effects.effect import Effect, read_effect
from vap.effects.library import unpack
from vap.effects.manifest import MANIFEST
from vap.files.atomic import atomic_folder
from vap.files.folders import RELEASED
from vap.files.names import bundled_model, full_name
from vap.files.shared import (
    EFFECT_KINDS,
    EXPERT_FILE,
    check_effect_size,
    check_hub_id,
    is_hub_id,
)
from vap.files.weights import LORA_FILE, read_headers
from vap.sharing.cards import effect_card, expert_card, lora_card

Kind: TypeAlias = Literal["expert", "lora", "effect"]

CARD = "README.md"
SHARED_LICENSES = frozenset(
    {"apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "unlicense", "cc0-1.0"}
    | {"cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0"}
    | {"cc-by-nc-4.0", "cc-by-nc-sa-4.0"}
    | {"openrail", "openrail++", "creativeml-openrail-m"}
)
"""Licenses, in the words of the Hub, that allow everybody to share the files."""

_NOTES = frozenset({CARD, ".DS_Store", "Thumbs.db"})


@dataclass(frozen=True, slots=True)
class Package:
    """What a repository of the Hub gets.

    Attributes:
        kind: What it is.
        files: Each file by its name in the repository; nothing else is uploaded but the card.
        card: The text of README.md.
        license: In the words of the Hub.
    """

    kind: Kind
    files: dict[str, Path]
    card: str
    license: str

    @property
    def sizes(self) -> dict[str, int]:
        """The bytes of each file, the card first."""
        files = {name: path.stat().st_size for name, path in self.files.items()}
        return {CARD: len(self.card.encode()), **files}

    def write(self, folder: Path) -> None:
        """Write the repository as a folder, whole or not at all."""
        with atomic_folder(folder, lambda _: False) as fresh:
            for name, path in self.files.items():
                (fresh / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, fresh / name)
            (fresh / CARD).write_text(self.card, encoding="utf-8")


@contextmanager
def packaged(
    source: Path, repository: str, *, license_name: str = "", model: str = ""
) -> Iterator[Package]:
    """Make the package of an expert, a LoRA or an effect; it lasts for the block.

    Args:
        source: An expert or LoRA in a safetensors file, its folder, or an effect's folder or file.
        repository: Where it goes on the Hub: ``owner/name``.
        license_name: Its license; an effect has it in its manifest.
        model: The model that it is for: a bundled name, ``wan``, ``cogvideox`` or a Hub id.

    Raises:
        FileNotFoundError: If there is nothing at ``source``, or it lacks a file.
        ValueError: If it may not be shared, or is not one of these.
    """
    check_hub_id(repository)
    if model and bundled_model(model) is None and model not in RELEASED:
        check_hub_id(model)
    if not source.exists():
        raise FileNotFoundError(f"There is nothing at {source}. Give a file or folder to share.")
    if (source / MANIFEST).is_file():
        yield _effect(read_effect(source), repository, license_name)
    elif source.suffix.lower() == ".zip":
        with tempfile.TemporaryDirectory() as folder:
            unpack(source, Path(folder))
            yield _effect(read_effect(folder), repository, license_name)
    else:
        yield _weights(_weights_file(source), repository, license_name, full_name(model))


def _weights_file(source: Path) -> Path:
    if source.is_dir():
        for name in (EXPERT_FILE, LORA_FILE):
            if (source / name).is_file():
                return source / name
        raise FileNotFoundError(
            f"{source} has neither {EXPERT_FILE}, nor {LORA_FILE}, nor {MANIFEST}. Name the file."
        )
    if source.suffix != ".safetensors":
        raise ValueError(
            f"{source} is not shared: weights must be a .safetensors file, which cannot run code. "
            "Extract an expert with `vap expert extract`."
        )
    return source


def _weights(file: Path, repository: str, license_name: str, model: str) -> Package:
    read_headers([file])  # that it is what its name says
    chosen = _license(license_name, f"{file} has no license", "--license apache-2.0")
    from vap.models.expert_file import read_expert_info
    from vap.models.lora_file import lora_path

    base = _on_the_hub(model)
    try:
        lora_path(file)
    except ValueError:
        card = expert_card(read_expert_info(file), repository, chosen, model, base)
        return Package("expert", {EXPERT_FILE: file}, card, chosen)
    card = lora_card(repository, chosen, model, base)
    return Package("lora", {LORA_FILE: file}, card, chosen)


def _effect(effect: Effect, repository: str, license_name: str) -> Package:
    manifest = effect.folder / MANIFEST
    stated = effect.license
    if license_name and license_name.lower() != stated.lower():
        raise ValueError(
            f"{manifest} says license {stated!r}, not {license_name!r}. Correct the manifest, or "
            "leave out --license."
        )
    fix = f"license: CC0-1.0 in {MANIFEST}"
    chosen = _license(stated, f"{manifest} has no license", fix)
    files = {}
    for path in sorted(effect.folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        name = path.relative_to(effect.folder).as_posix()
        if name in _NOTES:
            continue
        if path.is_symlink() or not path.is_file() or path.suffix.lower() not in EFFECT_KINDS:
            raise ValueError(
                f"{path} is not shared: an effect has plain files of these kinds: "
                f"{' '.join(sorted(EFFECT_KINDS))}. Remove it from the folder."
            )
        files[name] = path
    for path in files.values():
        if path.suffix.lower() == ".safetensors":
            read_headers([path])
    check_effect_size(str(effect.folder), [path.stat().st_size for path in files.values()])
    card = effect_card(effect, repository, chosen, _on_the_hub(effect.model))
    return Package("effect", files, card, chosen)


def _on_the_hub(model: str) -> str:
    """The Hub id of a model; empty for one that is not there."""
    return "" if bundled_model(model) or not is_hub_id(full_name(model)) else full_name(model)


def _license(given: str, problem: str, fix: str) -> str:
    chosen = given.strip().lower()
    if not chosen:
        raise ValueError(f"{problem}, so nobody may use it. Give one, such as {fix}.")
    if chosen not in SHARED_LICENSES:
        raise ValueError(
            f"License {given!r} is not known to allow sharing. Use one of: "
            f"{', '.join(sorted(SHARED_LICENSES))}."
        )
    return chosen
