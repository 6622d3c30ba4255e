"""YAML round trips preserve every value."""

from __future__ import annotations

import yaml

from nn.io.serialization import to_yaml


def test_yaml_is_read_back_unchanged_without_aliases():
    shared = [1, 2.5, 1e-7, None, True]
    texts = ["", "1e3", "null", "a: b # c", " x ", "é😀", "two\nlines\t", "##[-\n?{~:.` é[\x85"]
    settings = {"z": shared, "a": shared, "texts": texts, "empty": {}, "last": {"key": []}}
    content = to_yaml(settings)
    assert "&" not in content
    for loader in (yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        loaded = yaml.load(content, Loader=loader)
        assert loaded == settings
        assert [*loaded] == [*settings]
