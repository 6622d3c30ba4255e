"""The page of a run that another program has logged to W&B on this machine."""

from __future__ import annotations

from nn.report import formatting as fmt
from nn.report.charts.curves import plot_metric
from nn.report.data.wandb_run import WandbRunReader
from nn.report.page import Page

MAX_CHARTS = 100


def build_wandb_run_page(run: WandbRunReader) -> Page:
    """Build the page."""
    record = run.record()
    # grouped by the part of the name before the last slash, as in W&B
    named = [(*each["name"].rpartition("/")[::2], each) for each in record["metrics"]]
    metrics = sorted(named, key=lambda item: item[:2])[:MAX_CHARTS]
    return Page(
        template="wandb_run.html",
        title=fmt.truncate(record["title"], 120),
        context={
            "run": record,
            "path": record["path"],
            "charted": [(prefix, n, it["name"]) for n, (prefix, _, it) in enumerate(metrics)],
            "images": run.details()["images"],
        },
        charts={f"metric-{n}": plot_metric(it) for n, (*_, it) in enumerate(metrics)},
    )
