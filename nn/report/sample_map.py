"""A map of the samples: t-SNE of the last hidden layer, kept in the run folder once it is made."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from nn.errors import UserError
from nn.predictions import Predictions
from nn.runs import checkpoint
from nn.runs.training_state import Snapshot

MAP_FILE = "map.safetensors"
MIN_SAMPLES = 30
NUM_PCA_COMPONENTS = 50
"""Dimensions that are left to t-SNE, the principal ones."""


def load_or_compute_map(run_dir: Path, predictions: Predictions) -> NDArray[Any] | None:
    """Give each mapped sample a place on a plane; None where there is too little to map."""
    hidden = predictions.hidden
    varied = len(hidden) >= MIN_SAMPLES and hidden.shape[1] > 1 and np.isfinite(hidden).all()
    if not varied or not np.ptp(hidden, axis=0).any():
        return None
    facts = {"hidden": hashlib.sha256(np.ascontiguousarray(hidden).data).hexdigest()}
    kept = _load_cached_map(run_dir / MAP_FILE, facts, len(hidden))
    if kept is not None:
        return kept
    made = _compute_tsne(hidden)
    with suppress(OSError):
        checkpoint.save(run_dir / MAP_FILE, Snapshot({"places": made}, facts))
    return made


def _load_cached_map(file: Path, metadata: dict[str, Any], num_samples: int) -> NDArray[Any] | None:
    """Read a map that goes with these samples."""
    try:
        moment = checkpoint.load(file)
    except (FileNotFoundError, checkpoint.CorruptFileError, UserError):
        return None
    kept = moment.arrays.get("places")
    if moment.metadata != metadata or kept is None or kept.shape != (num_samples, 2):
        return None
    return kept if kept.dtype == np.float32 and np.isfinite(kept).all() else None


def _compute_tsne(hidden: NDArray[Any]) -> NDArray[Any]:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    samples, units = hidden.shape
    values = hidden.astype(np.float64)
    values /= np.abs(values).max()
    with threadpool_limits(1):  # several threads get into each other's way, and change the bits
        values = PCA(min(NUM_PCA_COMPONENTS, samples, units), random_state=0).fit_transform(values)
        perplexity = min(30.0, (samples - 1) / 3)
        drawn = TSNE(2, perplexity=perplexity, init="pca", random_state=0).fit_transform(values)
    plane: NDArray[Any] = np.ascontiguousarray(drawn, np.float32)
    return plane
