"""Find a sweep that another process may be running, by its name, directory or shared storage."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import optuna
from optuna.study import Study

from nn.errors import UserError
from nn.io.files import read_regular_file
from nn.runs.reader import read_json
from nn.sweeps import schema
from nn.sweeps.options import SweepSettings, parse_constants
from nn.sweeps.schema import SweepConfig
from nn.sweeps.shared_study import OPTION_KEYS, PRIOR_TRIALS_KEY
from nn.sweeps.storage import StudyStorage
from nn.sweeps.trials_reader import find_journal, read_started_sweep, require_sweep_format

SWEEPS_DIR = Path("runs/sweeps")
"""Parent of the sweep directories that are given by their names."""


@dataclass(frozen=True)
class SweepLocation:
    """Where a sweep's study is stored."""

    storage_url: str
    study_name: str | None
    """Name of the study; None for the only one in the storage."""
    sweep_dir: Path | None
    """Directory of the sweep; None if only the storage is known."""
    is_shared: bool

    @classmethod
    def find(cls, text: str, study_name: str | None) -> Self:
        """Find a sweep by its name, its directory or its shared storage.

        Raises:
            UserError: There is no such sweep.
        """
        path, named_dir = Path(text), SWEEPS_DIR / text
        if "://" in text or _is_file(path):
            return cls(text, study_name, None, is_shared=True)
        sweep_dir = named_dir if _is_file(named_dir / "sweep.yaml") else path
        if not _is_file(sweep_dir / "sweep.yaml"):
            raise UserError(
                f"{text}: there is no such sweep; give its name in {SWEEPS_DIR}, its directory, "
                "its shared storage, or ENTITY/PROJECT/SWEEP in W&B."
            )
        require_sweep_format(sweep_dir)
        settings = read_json(sweep_dir, "settings.json")
        url, stored_name = settings.get("storage"), settings.get("study_name")
        if isinstance(url, str) and isinstance(stored_name, str):
            if ":***@" in url or "?" in url:  # its options may name files
                raise UserError(
                    f"{text}: its study is in {url}, whose password and options are not recorded; "
                    f"give the URL that it was started with and --name={stored_name}."
                )
            return cls(url, stored_name, sweep_dir, is_shared=True)
        journal, journal_study = find_journal(sweep_dir)
        is_shared = journal != sweep_dir / "study.log"
        return cls(str(journal), journal_study, sweep_dir, is_shared)

    def load_study(self, storage: StudyStorage) -> Study:
        """Load the study from its storage.

        Raises:
            UserError: The storage lacks the named study, or has several and none is named.
        """
        names = optuna.get_all_study_names(storage.optuna_storage)
        name = self.study_name or (names[0] if len(names) == 1 else None)
        if name not in names:
            given = "" if name is None else f"--name={name}: there is no such study; "
            raise UserError(
                f"{storage.display_name}: {given}choose one with --name: "
                f"{', '.join(names) or 'it has none'}."
            )
        return optuna.load_study(study_name=name, storage=storage.optuna_storage)

    def read_sweep(self, study: Study) -> tuple[SweepConfig, SweepSettings]:
        """Read the sweep file and the settings, from the sweep's directory or else its study."""
        try:
            if self.sweep_dir:
                content = read_regular_file(self.sweep_dir, "settings.json", 2**20)
                settings = SweepSettings.model_validate_json(content)
                return read_started_sweep(self.sweep_dir), settings
            stored = dict(study.user_attrs["about"])
            options = {key: stored.pop(key) for key in OPTION_KEYS if key in stored}
            stored.pop(PRIOR_TRIALS_KEY, None)
            sweep = schema.parse_sweep_config(stored, Path(study.study_name))
            constants = parse_constants(options["overrides"], sweep)
            settings = SweepSettings.model_validate_json(
                json.dumps(options | {"constants": constants})
            )
            return sweep.with_constants(constants), settings
        except (FileNotFoundError, KeyError, TypeError, ValueError):
            raise UserError(
                f"{self.sweep_dir or study.study_name}: its settings are missing or damaged."
            ) from None


def _is_file(path: Path) -> bool:
    """Return whether a path given by the user is that of a file."""
    try:
        return path.is_file()
    except OSError:  # such as a name that is too long
        return False
