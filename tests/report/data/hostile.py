"""Hostile JSON, and checks that hold for any content."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from nn.io.serialization import to_json

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
fuzz_settings = settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def round_trip(record: Any) -> Any:
    """Return a record as a client receives it."""
    return json.loads(to_json(record))


def assert_plain_json(record: Any) -> None:
    """Check that a record has only values that JSON can hold, so no NaN and no other objects."""
    assert round_trip(record) == json.loads(json.dumps(record))
