"""The page of a run that another program has logged to W&B on this machine."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import JsonValue

from nn.errors import format_value
from nn.io.coerce import to_finite_float
from nn.io.serialization import JsonObject
from nn.report import formatting as fmt
from nn.report.charts.curves import plot_metric
from nn.report.data.wandb_run import WandbRunReader
from nn.report.page import Page, Stat

MAX_CHARTS = 100
MAX_VALUE_LENGTH = 120


def build_wandb_run_page(run: WandbRunReader) -> Page:
    """Build the page."""
    record = run.record()
    metrics = sorted(record["metrics"], key=lambda each: (_prefix(each["name"]), each["name"]))
    shown = metrics[:MAX_CHARTS]
    stats: list[Stat] = [
        ("Metrics", fmt.count, len(metrics)),
        ("Last step", fmt.count, record["last_step"]),
        ("Running time", fmt.duration, record["seconds"]),
    ]
    return Page(
        template="wandb_run.html",
        title=fmt.truncate(record["title"], MAX_VALUE_LENGTH),
        context={
            "run": record,
            "path": record["path"],
            "stats": stats,
            # grouped by the part of the name before the last slash, as in W&B
            "prefixes": [(_prefix(each["name"]), f"metric-{n}") for n, each in enumerate(shown)],
            "num_hidden_metrics": len(metrics) - len(shown),
            "images": run.details()["images"],
            "summary": _format_values(record["summary"], _format_score),
            "config": _format_values(record["config"], fmt.short_setting),
            "environment": _format_values(record["environment"], fmt.short_setting),
        },
        charts={f"metric-{n}": plot_metric(metric) for n, metric in enumerate(shown)},
    )


def _prefix(name: str) -> str:
    return name.rpartition("/")[0]


def _format_values(
    values: JsonObject, to_text: Callable[[JsonValue], str]
) -> list[tuple[str, str]]:
    return [
        (fmt.truncate(key, MAX_VALUE_LENGTH), fmt.truncate(to_text(value), MAX_VALUE_LENGTH))
        for key, value in sorted(values.items())
    ]


def _format_score(value: JsonValue) -> str:
    number = to_finite_float(value)
    return format_value(value) if number is None else fmt.number(number)
