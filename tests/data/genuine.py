"""The published MNIST and Fashion-MNIST files, on machines that have them next to the project."""

from __future__ import annotations

import pytest

from tests.conftest import ROOT

GENUINE = ROOT.parent / "shared" / "data"
needs_genuine = pytest.mark.skipif(
    not GENUINE.is_dir(), reason="the published files are not next to the project"
)
