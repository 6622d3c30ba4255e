"""A run's stored predictions: samples with images, calibration, and the t-SNE map."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import TypedDict

import numpy as np
from threadpoolctl import threadpool_limits

from nn.errors import UserError
from nn.predictions import Predictions
from nn.report.data.images import (
    Pixels,
    SpriteSheet,
    make_sprite_sheet,
    to_data_uri,
    to_thumbnail,
)
from nn.runs import checkpoint
from nn.runs.training_state import Snapshot, SnapshotMetadata
from nn.types import Array

NUM_BINS = 15
"""Bins of equal width, as in `metrics.expected_calibration_error`."""
NUM_TOP_CLASSES = 3
"""Most probable classes of a sample."""
MAP_FILE = "map.safetensors"
"""Cache of the t-SNE positions in the run directory."""
MIN_MAP_SAMPLES = 30
NUM_PCA_COMPONENTS = 50
"""Dimensions after PCA, which precedes t-SNE."""


class SampleRecord(TypedDict):
    """A sample of the evaluation set with its prediction."""

    index: int
    label: int
    predicted: int
    confidence: float
    top_classes: list[int]
    top_probabilities: list[float]
    image: str | None
    """Data URI of a PNG thumbnail."""


class CalibrationBin(TypedDict):
    """Mean confidence and accuracy of the samples in one range of confidence."""

    low: float
    high: float
    num_samples: int
    confidence: float
    accuracy: float


class SampleMapRecord(TypedDict):
    """The t-SNE map: one value per sample in each list."""

    x: list[float]
    y: list[float]
    labels: list[int]
    predicted: list[int]
    confidences: list[float]
    thumbnails: SpriteSheet | None


def example_records(
    predictions: Predictions, is_correct: bool, max_examples: int
) -> list[SampleRecord]:
    """Return correct or the most confidently misclassified samples that have an image."""
    if not predictions.has_images:
        return []
    return [
        sample_record(predictions, sample, image)
        for image, sample in predictions.examples(is_correct, max_examples)
    ]


def sample_record(predictions: Predictions, sample: int, image: Pixels | None) -> SampleRecord:
    """Return a sample with its most probable classes."""
    probabilities = predictions.probabilities[sample]
    top = np.argsort(-probabilities, kind="stable")[:NUM_TOP_CLASSES]
    return {
        "index": sample,
        "label": int(predictions.labels[sample]),
        "predicted": int(probabilities.argmax()),
        "confidence": float(probabilities.max()),
        "top_classes": top.tolist(),
        "top_probabilities": probabilities[top].tolist(),
        "image": None if image is None else to_data_uri(to_thumbnail(image)),
    }


def bin_by_confidence(predictions: Predictions) -> list[CalibrationBin]:
    """Group samples into bins of equal width by confidence; empty bins are left out."""
    confidence = predictions.probabilities.max(axis=1).astype(np.float64)
    is_correct = predictions.probabilities.argmax(axis=1) == predictions.labels
    bin_index = np.clip(np.ceil(confidence * NUM_BINS).astype(np.int64) - 1, 0, NUM_BINS - 1)
    return [
        {
            "low": number / NUM_BINS,
            "high": (number + 1) / NUM_BINS,
            "num_samples": int(inside.sum()),
            "confidence": float(confidence[inside].mean()),
            "accuracy": float(is_correct[inside].mean()),
        }
        for number in range(NUM_BINS)
        for inside in [bin_index == number]
        if inside.any()
    ]


def sample_map_record(run_dir: Path, predictions: Predictions) -> SampleMapRecord | None:
    """Return the map of the samples with an embedding; None if no map can be computed."""
    positions = load_or_compute_map(run_dir, predictions)
    if positions is None:
        return None
    indices = predictions.embedded_indices
    probabilities = predictions.probabilities[indices]
    image_of = dict(zip(predictions.image_indices.tolist(), predictions.images, strict=True))
    images = [image_of[sample] for sample in indices.tolist() if sample in image_of]
    thumbnails: SpriteSheet | None = None
    if predictions.has_images and len(images) == len(indices):
        thumbnails = make_sprite_sheet([to_thumbnail(image) for image in images])
    x, y = positions.round(2).T.astype(float).tolist()
    return {
        "x": x,
        "y": y,
        "labels": predictions.labels[indices].tolist(),
        "predicted": probabilities.argmax(axis=1).tolist(),
        "confidences": probabilities.max(axis=1).astype(float).round(4).tolist(),
        "thumbnails": thumbnails,
    }


def load_or_compute_map(run_dir: Path, predictions: Predictions) -> Array | None:
    """Return t-SNE positions (samples, 2); None for too few samples or constant activations."""
    hidden = predictions.embeddings
    is_large = len(hidden) >= MIN_MAP_SAMPLES and hidden.shape[1] > 1
    if not is_large or not np.isfinite(hidden).all() or not np.ptp(hidden, axis=0).any():
        return None
    digest = hashlib.sha256(np.ascontiguousarray(hidden).data).hexdigest()
    metadata: SnapshotMetadata = {"hidden": digest}
    with suppress(FileNotFoundError, checkpoint.CorruptFileError, UserError):
        snapshot = checkpoint.load(run_dir / MAP_FILE)
        cached = snapshot.arrays.get("places")
        if (
            snapshot.metadata == metadata
            and cached is not None
            and cached.shape == (len(hidden), 2)
            and cached.dtype == np.float32
            and np.isfinite(cached).all()
        ):
            return cached
    positions = _compute_tsne(hidden)
    with suppress(OSError):  # the cache is optional, as in a read-only directory
        checkpoint.save(run_dir / MAP_FILE, Snapshot({"places": positions}, metadata))
    return positions


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
