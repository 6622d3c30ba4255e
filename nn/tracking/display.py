"""What a person sees of a run: a bar on a terminal, plain lines elsewhere, and the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from nn.data.batches import Batches
from nn.tracking.run_folder import short
from nn.training import Epoch


class Display:
    """Shows a training as it goes."""

    def __init__(self, title: str, epochs: int, batches: Batches) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        self.console.print(title)
        self.epochs = epochs
        self.bar = _Bar(epochs, batches, self.console) if self.console.is_terminal else None

    def __enter__(self) -> Self:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()

    def epoch(self, epoch: Epoch) -> None:
        """Show what an epoch gave."""
        scores = f"train loss {epoch.train.loss:.4f} accuracy {epoch.train.accuracy:.4f}"
        if epoch.val:
            scores += f"  val loss {epoch.val.loss:.4f} accuracy {epoch.val.accuracy:.4f}"
        if self.bar:
            self.bar.advance_to(epoch.number, scores)
        else:
            width = len(str(self.epochs))
            print(f"epoch {epoch.number:{width}}/{self.epochs}  {scores}", flush=True)

    def result(
        self,
        summary: Mapping[str, Any],
        class_names: Sequence[str],
        folder: Path,
        mirror: str | None,
    ) -> None:
        """Show what came of the run."""
        say = self.console.print
        say("" if summary["status"] == "finished" else f"\nThe run is {summary['status']}.")
        for name, key in (("Test", "test"), ("Validation", "val")):
            if summary[f"{key}/accuracy"] is not None:
                accuracy, loss = summary[f"{key}/accuracy"], summary[f"{key}/loss"]
                say(f"{name} accuracy [bold]{accuracy:.4f}[/bold], loss {loss:.4f}\n")
                break
        if summary["confusion_matrix"]:
            say(confusion_text(summary["confusion_matrix"], class_names))
        say(
            f"{summary['parameters']:,} parameters, epochs: {summary['epochs']}, "
            f"{summary['seconds']:.2f} s of training"
        )
        say(f"Written to {short(folder)}")
        if mirror:
            say(mirror)


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
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(),
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
