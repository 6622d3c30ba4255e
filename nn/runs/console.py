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
from nn.io.paths import short
from nn.training import Epoch

MOST_CLASSES = 40
"""Beyond so many a confusion matrix says nothing to the eye."""


class Display:
    """Shows a training as it goes."""

    def __init__(self, epochs: int, batches: Batches) -> None:
        self.console = _Screen(highlight=False, soft_wrap=True)
        self.epochs = epochs
        self.bar = _Bar(epochs, batches, self.console) if self.console.is_terminal else None

    def __enter__(self) -> Self:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()

    def notes(self, notes: Sequence[str]) -> None:
        """Show what was noticed in the files of the dataset."""
        for note in notes:
            self._say(escape(note))

    def title(self, title: str) -> None:
        """Show what is about to be trained."""
        self._say(title)

    def epoch(self, epoch: Epoch) -> None:
        """Show what an epoch gave."""
        scores = f"train {epoch.train.loss:.4f} {epoch.train.accuracy:7.2%}"
        if epoch.val:
            scores += f"  val {epoch.val.loss:.4f} {epoch.val.accuracy:7.2%}"
        if self.bar:
            self.bar.advance_to(epoch.number, scores)
        else:
            width = len(str(self.epochs))
            self._say(f"epoch {epoch.number:{width}}/{self.epochs}  {scores}")

    def result(
        self,
        summary: Mapping[str, Any],
        class_names: Sequence[str],
        folder: Path,
    ) -> None:
        """Show what came of the run."""
        lines: list[str | Text] = [""]
        if summary["status"] != "finished":
            lines = [f"\nThe run is {summary['status']}."]
        for name, key in (("Test", "test"), ("Validation", "val")):
            if summary[f"{key}/accuracy"] is not None:
                accuracy, loss = summary[f"{key}/accuracy"], summary[f"{key}/loss"]
                lines.append(f"{name} accuracy [bold]{accuracy:.4f}[/bold], loss {loss:.4f}\n")
                break
        if summary["confusion_matrix"] and len(class_names) <= MOST_CLASSES:
            lines.append(confusion_text(summary["confusion_matrix"], class_names))
        lines.append(
            f"{summary['parameters']:,} parameters, epochs: {summary['epochs']}, "
            f"{summary['seconds']:.2f} s of training"
        )
        lines.append(f"Written to {escape(short(folder))}")
        for line in lines:
            self._say(line)

    def place(self, mirror: str | None) -> None:
        """Show where the run is in W&B, if it is there."""
        if mirror:
            self._say(escape(mirror))

    def profile(self, table: str) -> None:
        """Show where the time went."""
        self._say(f"\nWhere the time of the epochs went:\n{table}")

    def _say(self, text: str | Text) -> None:
        """Print; a screen that cannot be written to costs what would be shown, not the run."""
        try:
            self.console.print(text)
        except OSError:
            self.console.on_broken_pipe()


class _Screen(Console):
    """A console that takes it calmly when nobody reads it any more."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def confusion_text(confusion: Sequence[Sequence[int]], class_names: Sequence[str]) -> Text:
    """Draw a confusion matrix: a row for each true class, a column for each predicted one."""
    numbers = [str(count) for counts in confusion for count in counts]
    name_width = max(len(name) for name in (*class_names, "true"))
    width = 1 + max(len(word) for word in (*numbers, *(name[:5] for name in class_names)))
    columns = "".join(f"{name[:5]:>{width}}" for name in class_names)
    text = Text()
    text.append(f"{'':{name_width}}  predicted\n{'true':{name_width}} {columns}\n", style="dim")
    for truth, counts in enumerate(confusion):
        text.append(f"{class_names[truth]:>{name_width}} ")
        for predicted, count in enumerate(counts):
            style = "bold green" if truth == predicted else "bold red" if count else "dim"
            text.append(f"{count or '.':>{width}}", style=style)
        text.append("\n")
    return text


class _Bar(Progress):
    """A progress bar that asks the batches, at its own pace, how far the epoch is."""

    def __init__(self, epochs: int, batches: Batches, console: Console) -> None:
        self.batches, self.finished_epochs = batches, 0
        super().__init__(
            TextColumn("{task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(12),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=console,
            refresh_per_second=5,
        )
        self.task = self.add_task("", total=epochs, epoch=1, epochs=epochs)

    def get_renderables(self) -> Any:
        if self.tasks and self.finished_epochs < self.tasks[0].fields["epochs"]:
            part = self.batches.done / len(self.batches) % 1
            self.update(self.task, completed=self.finished_epochs + part)
        return super().get_renderables()

    def advance_to(self, epoch: int, scores: str) -> None:
        """Take note of an epoch that has ended."""
        self.finished_epochs = epoch
        self.update(
            self.task,
            completed=epoch,
            description=scores,
            epoch=min(epoch + 1, self.tasks[0].fields["epochs"]),
        )
