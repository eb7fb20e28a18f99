"""YAML as settings and models are written in it: safe, and each key once."""

from __future__ import annotations

from typing import Any

import yaml


def load_yaml(text: str) -> Any:
    """Return the content of a YAML text; YAMLError where it is broken or a key is written twice."""
    return yaml.load(text, Loader=_UniqueKeyLoader)  # a SafeLoader  # noqa: S506


class _UniqueKeyLoader(yaml.SafeLoader):
    """A safe loader that refuses a key written twice; YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        repeated = {key for key in keys if keys.count(key) > 1}
        if repeated:
            raise yaml.YAMLError(f"key written twice: {', '.join(map(str, sorted(repeated)))}, {node.start_mark}")
        return super().construct_mapping(node, deep)
