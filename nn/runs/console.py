"""Console output of a run: a progress bar on a terminal, plain lines elsewhere, and the result."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from nn.batches import Batches
from nn.io.paths import relpath
from nn.io.records import Summary
from nn.training import EpochResult

MAX_CONFUSION_CLASSES = 40
"""A larger confusion matrix is unreadable as text and is not printed."""


class RunConsole:
    """Prints the progress of a run and its result."""

    def __init__(self, num_epochs: int, batches: Batches, verbose: bool) -> None:
        self.console = _PipeSafeConsole(highlight=False, soft_wrap=True, quiet=not verbose)
        self.num_epochs = num_epochs
        self.progress_bar: _EpochProgressBar | None = None
        if self.console.is_terminal:
            self.progress_bar = _EpochProgressBar(num_epochs, batches, self.console)

    def __enter__(self) -> Self:
        if self.progress_bar:
            self.progress_bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.progress_bar:
            self.progress_bar.stop()

    def show_dataset_notes(self, notes: Sequence[str]) -> None:
        """Print remarks about the files of the dataset."""
        for note in notes:
            self._print(escape(note))

    def show_header(self, header: str) -> None:
        """Print the description of the run."""
        self._print(header)

    def show_epoch(self, result: EpochResult) -> None:
        """Update the progress bar, or print a line of losses and accuracies."""
        metrics_text = f"train {result.train.loss:.4f} {result.train.accuracy:7.2%}"
        if result.val:
            metrics_text += f"  val {result.val.loss:.4f} {result.val.accuracy:7.2%}"
        if self.progress_bar:
            self.progress_bar.advance_to(result.number, metrics_text)
        else:
            width = len(str(self.num_epochs))
            self._print(Text(f"epoch {result.number:{width}}/{self.num_epochs}  {metrics_text}"))

    def show_summary(self, summary: Summary, run_dir: Path) -> None:
        """Print scores, confusion matrix, duration and location of the run."""
        lines: list[str | Text] = [""]
        if summary["status"] != "finished":
            lines = [f"\nRun {summary['status']}."]
        split, accuracy, loss = "Test", summary["test/accuracy"], summary["test/loss"]
        if accuracy is None:
            split, accuracy, loss = "Validation", summary["val/accuracy"], summary["val/loss"]
        if accuracy is not None:
            lines.append(f"{split} accuracy [bold]{accuracy:.4f}[/bold], loss {loss:.4f}\n")
        confusion_matrix, class_names = summary["confusion_matrix"], summary["class_names"]
        if confusion_matrix and len(class_names) <= MAX_CONFUSION_CLASSES:
            lines.append(format_confusion_matrix(confusion_matrix, class_names))
        lines.append(
            f"{summary['num_parameters']:,} parameters, epochs: {summary['epochs']}, "
            f"{summary['seconds']:.2f} s of training"
        )
        lines.append(f"Written to {escape(relpath(run_dir))}")
        for line in lines:
            self._print(line)

    def show_wandb_location(self, location: str | None) -> None:
        """Print where to find the run in W&B."""
        if location:
            self._print(escape(location))

    def show_profile(self, table: str) -> None:
        """Print the profiler's table."""
        self._print(f"\nEpoch time by component:\n{table}")

    def _print(self, text: str | Text) -> None:
        """Print, or stop printing if that fails: a broken output must not end the run."""
        try:
            if self.console.is_terminal or self.console.is_jupyter:
                self.console.print(text)
            elif not self.console.quiet:  # without styles rich takes ten times as long
                text = Text.from_markup(text) if isinstance(text, str) else text
                print(text.plain, file=self.console.file, flush=True)
        except OSError:
            self.console.on_broken_pipe()


class _PipeSafeConsole(Console):
    """A console that falls silent on a broken pipe, where rich's exits."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)


def format_confusion_matrix(
    confusion_matrix: Sequence[Sequence[int]], class_names: Sequence[str]
) -> Text:
    """Format a confusion matrix with a row per true class and a column per predicted class."""
    numbers = [str(count) for counts in confusion_matrix for count in counts]
    name_width = max(len(name) for name in (*class_names, "true"))
    width = 1 + max(len(cell) for cell in (*numbers, *(name[:5] for name in class_names)))
    column_header = "".join(f"{name[:5]:>{width}}" for name in class_names)
    header = f"{'':{name_width}}  predicted\n{'true':{name_width}} {column_header}\n"
    text = Text().append(header, style="dim")
    for true_class, counts in enumerate(confusion_matrix):
        text.append(f"{class_names[true_class]:>{name_width}} ")
        for predicted_class, count in enumerate(counts):
            style = (
                "bold green" if true_class == predicted_class else "bold red" if count else "dim"
            )
            text.append(f"{count or '.':>{width}}", style=style)
        text.append("\n")
    return text


class _EpochProgressBar(Progress):
    """A progress bar that polls the batches for the progress within an epoch when it refreshes."""

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

    def get_renderables(self) -> Iterable[RenderableType]:
        if self.tasks and self.num_finished_epochs < self.tasks[0].fields["epochs"]:
            epoch_fraction = self.batches.num_completed / len(self.batches) % 1
            self.update(self.task_id, completed=self.num_finished_epochs + epoch_fraction)
        return super().get_renderables()

    def advance_to(self, epoch: int, metrics_text: str) -> None:
        """Record that an epoch has ended."""
        self.num_finished_epochs = epoch
        self.update(
            self.task_id,
            completed=epoch,
            description=metrics_text,
            epoch=min(epoch + 1, self.tasks[0].fields["epochs"]),
        )
