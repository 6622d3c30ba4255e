"""The genuine MNIST and Fashion-MNIST, on machines that have them beside the project."""

from __future__ import annotations

import pytest

from tests.conftest import ROOT

GENUINE = ROOT.parent / "shared" / "data"
needs_genuine = pytest.mark.skipif(
    not GENUINE.is_dir(), reason="the genuine files are not beside the project"
)
