"""A run's tables, pictures and model as W&B shows them, with the client that it is handed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nn.predictions import Predictions
from nn.tracking import exhibits


class MediaBuilder:
    """Makes what W&B shows of a run beside its curves."""

    def __init__(self, wandb: Any, class_names: Sequence[str]) -> None:
        self.wandb, self.class_names = wandb, class_names

    def build_history_row(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """An epoch's line of history, with its confusion matrix as a chart."""
        row = {key: value for key, value in record.items() if value is not None}
        confusion_matrix = row.pop("val/confusion_matrix", None)
        if confusion_matrix:
            row["val/confusion_matrix"] = self._confusion_chart("val", confusion_matrix)
        return row

    def build_result_media(
        self, summary: Mapping[str, Any], predictions: Predictions | None, num_examples: int
    ) -> dict[str, Any]:
        """What there is to show at the end of a run."""
        media: dict[str, Any] = {}
        if "precision" in summary:
            split = "test" if summary["test/accuracy"] is not None else "val"
            confusion_matrix = summary["confusion_matrix"]
            counts_table = exhibits.wide_confusion_table(confusion_matrix, self.class_names)
            report_table = exhibits.classification_report(summary, self.class_names)
            media[f"{split}/confusion_matrix"] = self._confusion_chart(split, confusion_matrix)
            media[f"{split}/confusion_counts"] = self._wandb_table(counts_table)
            media[f"{split}/classes"] = self._wandb_table(report_table)
        if predictions and predictions.has_images:
            for name in ("right", "wrong"):
                examples = exhibits.select_example_images(
                    predictions, self.class_names, name == "right", num_examples
                )
                images = [self.wandb.Image(each.pixels, caption=each.caption) for each in examples]
                if images:
                    media[f"examples/{name}"] = images
        return media

    def build_model_artifact(
        self, name: str, checkpoint_path: Path, metadata: Mapping[str, Any]
    ) -> Any:
        """The checkpoint of the kept weights as an artifact."""
        artifact = self.wandb.Artifact(name, "model", metadata=dict(metadata))
        artifact.add_file(
            str(checkpoint_path), "model.safetensors", skip_cache=True, policy="mutable"
        )
        return artifact

    def _confusion_chart(self, split: str, confusion_matrix: Sequence[Sequence[int]]) -> Any:
        """W&B's own confusion matrix, of counts."""
        cells = exhibits.long_confusion_table(confusion_matrix, self.class_names)
        return self.wandb.plot_table(
            "wandb/confusion_matrix/v1",
            self._wandb_table(cells),
            {column: column for column in cells.columns},
            {"title": f"Confusion matrix ({split})"},
        )

    def _wandb_table(self, table: exhibits.Table) -> Any:
        return self.wandb.Table(columns=table.columns, data=table.rows)
