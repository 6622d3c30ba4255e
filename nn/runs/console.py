"""What a person sees of a run: a bar on a terminal, plain lines elsewhere, and the result."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from nn.batches import Batches
from nn.io.paths import relpath
from nn.training import EpochResult

MAX_CONFUSION_CLASSES = 40
"""Beyond so many a confusion matrix says nothing to the eye."""


class RunConsole:
    """Shows a training as it goes."""

    def __init__(self, num_epochs: int, batches: Batches) -> None:
        self.console = _PipeSafeConsole(highlight=False, soft_wrap=True)
        self.num_epochs = num_epochs
        self.progress_bar = _EpochProgressBar(num_epochs, batches, self.console) if self.console.is_terminal else None

    def __enter__(self) -> Self:
        if self.progress_bar:
            self.progress_bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.progress_bar:
            self.progress_bar.stop()

    def show_dataset_notes(self, notes: Sequence[str]) -> None:
        """Show what was noticed in the files of the dataset."""
        for note in notes:
            self._print(escape(note))

    def show_header(self, header: str) -> None:
        """Show what is about to be trained."""
        self._print(header)

    def show_epoch(self, result: EpochResult) -> None:
        """Show what an epoch gave."""
        metrics_text = f"train {result.train.loss:.4f} {result.train.accuracy:7.2%}"
        if result.val:
            metrics_text += f"  val {result.val.loss:.4f} {result.val.accuracy:7.2%}"
        if self.progress_bar:
            self.progress_bar.advance_to(result.number, metrics_text)
        else:
            width = len(str(self.num_epochs))
            self._print(f"epoch {result.number:{width}}/{self.num_epochs}  {metrics_text}")

    def show_summary(
        self,
        summary: Mapping[str, Any],
        class_names: Sequence[str],
        run_dir: Path,
    ) -> None:
        """Show what came of the run."""
        lines: list[str | Text] = [""]
        if summary["status"] != "finished":
            lines = [f"\nThe run is {summary['status']}."]
        for name, split in (("Test", "test"), ("Validation", "val")):
            if summary[f"{split}/accuracy"] is not None:
                accuracy, loss = summary[f"{split}/accuracy"], summary[f"{split}/loss"]
                lines.append(f"{name} accuracy [bold]{accuracy:.4f}[/bold], loss {loss:.4f}\n")
                break
        if summary["confusion_matrix"] and len(class_names) <= MAX_CONFUSION_CLASSES:
            lines.append(format_confusion_matrix(summary["confusion_matrix"], class_names))
        lines.append(
            f"{summary['num_parameters']:,} parameters, epochs: {summary['epochs']}, "
            f"{summary['seconds']:.2f} s of training"
        )
        lines.append(f"Written to {escape(relpath(run_dir))}")
        for line in lines:
            self._print(line)

    def show_wandb_location(self, location: str | None) -> None:
        """Show where the run is in W&B, if it is there."""
        if location:
            self._print(escape(location))

    def show_profile(self, table: str) -> None:
        """Show where the time went."""
        self._print(f"\nWhere the time of the epochs went:\n{table}")

    def _print(self, text: str | Text) -> None:
        """Print; a screen that cannot be written to costs what would be shown, not the run."""
        try:
            self.console.print(text)
        except OSError:
            self.console.on_broken_pipe()


class _PipeSafeConsole(Console):
    """A console that takes it calmly when nobody reads it any more."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def format_confusion_matrix(confusion_matrix: Sequence[Sequence[int]], class_names: Sequence[str]) -> Text:
    """Draw a confusion matrix: a row for each true class, a column for each predicted one."""
    numbers = [str(count) for counts in confusion_matrix for count in counts]
    name_width = max(len(name) for name in (*class_names, "true"))
    width = 1 + max(len(word) for word in (*numbers, *(name[:5] for name in class_names)))
    column_header = "".join(f"{name[:5]:>{width}}" for name in class_names)
    text = Text()
    text.append(f"{'':{name_width}}  predicted\n{'true':{name_width}} {column_header}\n", style="dim")
    for true_class, counts in enumerate(confusion_matrix):
        text.append(f"{class_names[true_class]:>{name_width}} ")
        for predicted_class, count in enumerate(counts):
            style = "bold green" if true_class == predicted_class else "bold red" if count else "dim"
            text.append(f"{count or '.':>{width}}", style=style)
        text.append("\n")
    return text


class _EpochProgressBar(Progress):
    """A progress bar that asks the batches, at its own pace, how far the epoch is."""

    def __init__(self, num_epochs: int, batches: Batches, console: Console) -> None:
        self.batches, self.num_finished_epochs = batches, 0
        super().__init__(
            TextColumn("{task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(12),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=console,
            refresh_per_second=5,
        )
        self.task_id = self.add_task("", total=num_epochs, epoch=1, epochs=num_epochs)

    def get_renderables(self) -> Any:
        if self.tasks and self.num_finished_epochs < self.tasks[0].fields["epochs"]:
            epoch_fraction = self.batches.num_completed / len(self.batches) % 1
            self.update(self.task_id, completed=self.num_finished_epochs + epoch_fraction)
        return super().get_renderables()

    def advance_to(self, epoch: int, metrics_text: str) -> None:
        """Take note of an epoch that has ended."""
        self.num_finished_epochs = epoch
        self.update(
            self.task_id,
            completed=epoch,
            description=metrics_text,
            epoch=min(epoch + 1, self.tasks[0].fields["epochs"]),
        )
