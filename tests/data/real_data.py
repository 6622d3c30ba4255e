"""The published MNIST and Fashion-MNIST files, on machines that have them next to the project."""

from __future__ import annotations

import pytest

from tests.conftest import ROOT

REAL_DATA = ROOT.parent / "shared" / "data"
requires_real_data = pytest.mark.skipif(
    not REAL_DATA.is_dir(), reason="the published files are not next to the project"
)
