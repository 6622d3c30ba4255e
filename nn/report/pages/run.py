"""The page of a run, and the sentences that describe one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from nn.report import formatting as fmt
from nn.report.charts import run as plots
from nn.report.data.run import RunReader, RunRecord
from nn.report.page import Page, Stat
from nn.report.tables import Cells, Column, Table, join_cells

SPLITS = {"test": "test", "val": "validation"}
CLASSES_PER_PAGE = 30
LAYERS_PER_PAGE = 40


def build_run_page(run: RunReader) -> Page:
    """Build the page of a run."""
    record, curves, details = run.record(), run.curves(), run.details()
    class_names = [it["name"] for it in record["classes"]]
    split = SPLITS[record["split"]]
    charts = plots.plot_curves(record, curves)
    if (matrix := record["confusion_matrix"]) is not None:
        title = f"{split.capitalize()} samples by true and predicted class"
        charts["confusion"] = plots.plot_confusion_matrix(title, matrix, class_names)
    charts["classes"] = plots.plot_class_scores(record["classes"])
    if details["calibration"]:
        charts["calibration"] = plots.plot_calibration(details["calibration"])
    if details["sample_map"] is not None:
        charts["map"] = plots.plot_sample_map(details["sample_map"], class_names)
    return Page(
        template="run.html",
        title=record["name"] or record["title"],
        context={
            "run": record,
            "curves": curves,
            "details": details,
            "path": record["path"],
            "split": split,
            "class_names": class_names,
            "summary": summarize_run(record),
            "confusion_summary": summarize_confusion(record),
            "main_layers": [
                layer
                for previous, layer in pairwise(record["layers"])
                if layer["output_shape"] != previous["output_shape"]
                or (layer["num_parameters"] and "norm" not in layer["name"])
            ],
            "stats": _stats(record, split),
        },
        charts={name: chart for name, chart in charts.items() if chart},
        tables=_tables(record),
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


def _stats(record: RunRecord, split: str) -> list[Stat]:
    scores, prefix = record["scores"], record["split"]
    stats: list[Stat] = [
        (f"{split.capitalize()} accuracy", fmt.percent, scores.get(f"{prefix}/accuracy")),
        (f"{split.capitalize()} loss", fmt.number, scores.get(f"{prefix}/loss")),
        ("Top-3 accuracy", fmt.percent, scores.get(f"{prefix}/top3")),
        ("Calibration error", fmt.percent, scores.get(f"{prefix}/calibration_error")),
        ("Parameters", fmt.count, record["num_parameters"]),
        ("Training time", fmt.duration, record["training_seconds"]),
    ]
    if prefix != "val":
        stats.insert(2, ("Validation accuracy", fmt.percent, scores.get("val/accuracy")))
    return stats


def _tables(record: RunRecord) -> dict[str, Table]:
    tables, classes, layers = {}, record["classes"], record["layers"]
    if any(each["f1"] is not None for each in classes):
        cells: Cells = {
            Column("name", "Class"): [each["name"] for each in classes],
            Column("precision", "Precision", "percent"): [each["precision"] for each in classes],
            Column("recall", "Recall", "percent"): [each["recall"] for each in classes],
            Column("f1", "F1", "percent"): [each["f1"] for each in classes],
            Column("num_samples", "Samples", "integer"): [each["num_samples"] for each in classes],
        }
        tables["classes"] = Table(
            caption="Scores per class",
            columns=[*cells],
            rows=join_cells(cells),
            page_size=CLASSES_PER_PAGE,
        )
    if layers:
        cells = {
            Column("name", "Layer"): [each["name"] for each in layers],
            Column("output_shape", "Output shape"): [
                " x ".join(map(str, each["output_shape"])) for each in layers
            ],
            Column("num_parameters", "Parameters", "integer"): [
                each["num_parameters"] or None for each in layers
            ],
        }
        tables["layers"] = Table(
            caption="Layers", columns=[*cells], rows=join_cells(cells), page_size=LAYERS_PER_PAGE
        )
    return tables
