"""The page of a run, and the sentences that describe one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from nn.report import formatting as fmt
from nn.report.charts.chart import MAX_NAMED_CLASSES
from nn.report.charts.curves import plot_curves
from nn.report.charts.run import (
    MAX_MATRIX_CLASSES,
    plot_calibration,
    plot_class_scores,
    plot_confusion_matrix,
    plot_sample_map,
)
from nn.report.data.run import RunReader, RunRecord
from nn.report.page import Page
from nn.report.tables import Column, tabulate

SPLITS = {"test": "test", "val": "validation"}
CLASS_COLUMNS = (
    Column("name", "Class"),
    Column("precision", "Precision", "percent"),
    Column("recall", "Recall", "percent"),
    Column("f1", "F1", "percent"),
    Column("num_samples", "Samples", "integer"),
)
LAYER_COLUMNS = (
    Column("name", "Layer"),
    Column("shape", "Output shape"),
    Column("num_parameters", "Parameters", "integer"),
)


def build_run_page(run: RunReader) -> Page:
    """Build the page of a run."""
    record, history, details = run.record(), run.curves(), run.details()
    classes, layers = record["classes"], record["layers"]
    class_names = [each["name"] for each in classes]
    charts = plot_curves(record, history)
    if (matrix := record["confusion_matrix"]) is not None:
        charts["confusion"] = plot_confusion_matrix(matrix, class_names)
    charts["classes"] = plot_class_scores(classes)
    if details["calibration"]:
        charts["calibration"] = plot_calibration(details["calibration"])
    if details["sample_map"] is not None:
        charts["map"] = plot_sample_map(details["sample_map"], class_names)
    tables = {}
    if any(each["f1"] is not None for each in classes):
        tables["classes"] = tabulate(CLASS_COLUMNS, classes)
    if layers:
        rows = [{**each, "shape": " x ".join(map(str, each["output_shape"]))} for each in layers]
        tables["layers"] = tabulate(LAYER_COLUMNS, rows)
    return Page(
        template="run.html",
        title=record["name"] or record["title"],
        context={
            "run": record,
            "curves": history,
            "details": details,
            "path": record["path"],
            "split": SPLITS[record["split"]],
            "class_names": class_names,
            "max_named_classes": MAX_NAMED_CLASSES,
            "max_matrix_classes": MAX_MATRIX_CLASSES,
            "summary": summarize_run(record),
            "confusion_summary": summarize_confusion(record),
            "main_layers": [
                layer
                for previous, layer in pairwise(layers)
                if layer["output_shape"] != previous["output_shape"]
                or (layer["num_parameters"] and "norm" not in layer["name"])
            ],
        },
        charts={name: chart for name, chart in charts.items() if chart},
        tables=tables,
    )


def summarize_run(record: RunRecord) -> str:
    """Describe size, accuracy, duration and selected epoch in one or two sentences."""
    size, selected = record["num_parameters"], record["selected_epoch"]
    network = f"A network with {size:,.0f} parameters" if size else "A network"
    epochs = fmt.count(record["num_epochs"], "epoch")
    if record["training_seconds"] is not None:
        duration = fmt.duration(record["training_seconds"])
        epochs += f" ({duration})".replace(" ", "\N{NO-BREAK SPACE}")
    accuracy = record["scores"].get(f"{record['split']}/accuracy")
    if accuracy is None:
        return f"{network} was trained for {epochs}."
    score = f"{fmt.percent(accuracy)} {SPLITS[record['split']]} accuracy"
    result = f"{network} reached {score} in {epochs}."
    if selected is None or not record["restores_best"]:
        return result
    return f"{result} Its weights are those of the best epoch, {selected:,.0f}."


def summarize_confusion(record: RunRecord) -> str:
    """State the number of errors and the most frequent one; empty without a confusion matrix."""
    if record["confusion_matrix"] is None:
        return ""
    matrix = np.array(record["confusion_matrix"])
    errors = matrix - np.diag(matrix.diagonal())
    if not errors.any():
        return f"All {matrix.sum():,} samples are classified correctly."
    row, column = divmod(int(errors.argmax()), len(errors))
    truth, predicted = (record["classes"][index]["name"] for index in (row, column))
    return (
        f"{errors.sum():,} of {matrix.sum():,} samples are misclassified. "
        f"Most frequent error: {truth} predicted as {predicted} "
        f"({fmt.count(int(errors[row, column]), 'time')}, "
        f"{fmt.percent(errors[row, column] / matrix[row].sum(), 1)} of class {truth})."
    )
