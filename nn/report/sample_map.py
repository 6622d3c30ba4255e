"""t-SNE of the samples' activations in the last hidden layer, cached in the run directory."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from nn.errors import UserError
from nn.predictions import Predictions
from nn.runs import checkpoint
from nn.runs.training_state import Snapshot, SnapshotMetadata
from nn.types import Array

MAP_FILE = "map.safetensors"
MIN_SAMPLES = 30
"""Samples below which no map is computed."""
NUM_PCA_COMPONENTS = 50
"""Dimensions after PCA, which precedes t-SNE."""


def load_or_compute_map(run_dir: Path, predictions: Predictions) -> Array | None:
    """Return t-SNE positions (samples, 2); None for too few samples or constant activations."""
    hidden = predictions.embeddings
    enough = len(hidden) >= MIN_SAMPLES and hidden.shape[1] > 1 and np.isfinite(hidden).all()
    if not enough or not np.ptp(hidden, axis=0).any():
        return None
    digest = hashlib.sha256(np.ascontiguousarray(hidden).data).hexdigest()
    metadata: SnapshotMetadata = {"hidden": digest}
    cached = _load_cached_map(run_dir / MAP_FILE, metadata, len(hidden))
    if cached is not None:
        return cached
    positions = _compute_tsne(hidden)
    with suppress(OSError):  # the cache is optional, as in a read-only directory
        checkpoint.save(run_dir / MAP_FILE, Snapshot({"places": positions}, metadata))
    return positions


def _load_cached_map(file: Path, metadata: SnapshotMetadata, num_samples: int) -> Array | None:
    """Read the cached positions if they belong to these activations, else None."""
    try:
        snapshot = checkpoint.load(file)
    except (FileNotFoundError, checkpoint.CorruptFileError, UserError):
        return None
    positions = snapshot.arrays.get("places")
    if snapshot.metadata != metadata or positions is None or positions.shape != (num_samples, 2):
        return None
    return positions if positions.dtype == np.float32 and np.isfinite(positions).all() else None


def _compute_tsne(hidden: Array) -> Array:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    samples, units = hidden.shape
    values = hidden.astype(np.float64)
    values /= np.abs(values).max()
    with threadpool_limits(1):  # more threads slow it down, and change the bits
        values = PCA(min(NUM_PCA_COMPONENTS, samples, units), random_state=0).fit_transform(values)
        perplexity = min(30.0, (samples - 1) / 3)
        embedding = TSNE(2, perplexity=perplexity, init="pca", random_state=0).fit_transform(values)
    positions: Array = np.ascontiguousarray(embedding, np.float32)
    return positions
