"""A run's tables, pictures and model as W&B shows them, with the client that it is handed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nn.predictions import Predictions
from nn.tracking import exhibits


class Media:
    """Makes what W&B shows of a run beside its curves."""

    def __init__(self, wandb: Any, names: Sequence[str]) -> None:
        self.wandb, self.names = wandb, names

    def history(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """An epoch's line of history, with its confusion matrix as a chart."""
        content = {key: value for key, value in record.items() if value is not None}
        confusion = content.pop("val/confusion_matrix", None)
        if confusion:
            content["val/confusion_matrix"] = self._chart("val", confusion)
        return content

    def result(
        self, summary: Mapping[str, Any], predictions: Predictions | None, images: int
    ) -> dict[str, Any]:
        """What there is to show at the end of a run."""
        shown: dict[str, Any] = {}
        if "precision" in summary:
            part = "test" if summary["test/accuracy"] is not None else "val"
            confusion = summary["confusion_matrix"]
            counts = exhibits.confusion_counts(confusion, self.names)
            scores = exhibits.class_scores(summary, self.names)
            shown[f"{part}/confusion_matrix"] = self._chart(part, confusion)
            shown[f"{part}/confusion_counts"] = self._table(counts)
            shown[f"{part}/classes"] = self._table(scores)
        if predictions and predictions.drawable:
            for name in ("right", "wrong"):
                some = exhibits.examples(predictions, self.names, name == "right", images)
                pictures = [self.wandb.Image(each.pixels, caption=each.caption) for each in some]
                if pictures:
                    shown[f"examples/{name}"] = pictures
        return shown

    def model(self, name: str, file: Path, about: Mapping[str, Any]) -> Any:
        """The checkpoint of the kept weights as an artifact."""
        model = self.wandb.Artifact(name, "model", metadata=dict(about))
        model.add_file(str(file), "model.safetensors", skip_cache=True, policy="mutable")
        return model

    def _chart(self, part: str, confusion: Sequence[Sequence[int]]) -> Any:
        """W&B's own confusion matrix, of counts."""
        cells = exhibits.confusion_cells(confusion, self.names)
        return self.wandb.plot_table(
            "wandb/confusion_matrix/v1",
            self._table(cells),
            {column: column for column in cells.columns},
            {"title": f"Confusion matrix ({part})"},
        )

    def _table(self, table: exhibits.Table) -> Any:
        return self.wandb.Table(columns=table.columns, data=table.rows)
