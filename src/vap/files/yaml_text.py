"""YAML from users' files: bounded in size, no key twice, plain values only."""

from __future__ import annotations

import math
import re
from reprlib import repr as limited_repr
from typing import Any

import yaml

# Files are a few thousand characters long; what aliases and merge keys repeat counts each time.
LARGEST = 100_000
_LONGEST = 100
_Sizes = dict[yaml.Node, float]
_BOOL = "tag:yaml.org,2002:bool"


class _Loader(yaml.SafeLoader):
    """Reads booleans as YAML 1.2 does: ``no`` is a word, as in ``precision: no``."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != _BOOL]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    _BOOL, re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), [*"tTfF"]
)


def parse_yaml(text: str) -> Any:
    """Parse a YAML text.

    Raises:
        ValueError: If it is no YAML, or says too much.
    """
    try:
        loader = _Loader(text[: LARGEST + 1])
        node = loader.get_single_node()
        if node is None:
            return None
        if len(text) > LARGEST or _size(node, {}) > LARGEST:
            raise ValueError(f"it has more than {LARGEST:,} characters, with all aliases")
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    except RecursionError as error:
        raise ValueError("its values are nested too deeply") from error


def _size(node: yaml.Node, sizes: _Sizes) -> float:
    """Characters of a value with its aliases written out; each node is looked at once."""
    if node not in sizes:
        sizes[node] = math.inf  # a value that contains itself
        parts: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
            parts = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            parts = node.value
        own = len(node.value) if isinstance(node, yaml.ScalarNode) else 0
        sizes[node] = 1 + own + sum(_size(part, sizes) for part in parts)
    return sizes[node]


def _check_keys(node: yaml.MappingNode) -> None:
    seen = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            if key.value in seen:
                line = key.start_mark.line + 1
                raise ValueError(f"line {line} gives the key {brief(key.value)} again")
            seen.add(key.value)


def brief(value: object) -> str:
    """A value for a message, however large it is."""
    text = limited_repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
