"""Every command and file that a README shows works as written."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest
from omegaconf import OmegaConf

from nn.errors import format_value
from tests.conftest import ROOT
from tests.data.mirror_server import serve_mirror
from tests.fake_wandb import FakeWandbServer
from tests.integration.project_clone import ProjectClone
from tests.integration.readmes import READMES, read_blocks, read_readme

INSTALL_AND_TRAIN = "pip install -e . && python scripts/train.py lr=0.055\n"
INSTALL_AND_TEST = 'pip install -e ".[test]" && python -m pytest\n'
ACCOUNT = r"wandb sweep|wandb agent|upload\.py|--wandb"
SOAK_ONLY = {
    ACCOUNT: "needs a W&B account",
    "postgresql://": "needs a database server",
    "submitit_slurm": "needs Slurm",
    "=train.csv": "needs Kaggle's files",
}
"""Commands that run in a soak only, with stand-ins for what they need."""
SLOW_READMES = ("conf/README.md", "scripts/README.md", "sweeps/README.md", "nn/report/README.md")
"""Those whose many commands run in a soak only."""
REQUIRED_EXTRAS = {"submitit": "cluster", "postgresql://": "postgres"}
"""Parts of commands that need an extra, and the extra."""
OUTPUT = {
    "README.md": ".github/seven.png: 7 (",
    "nn/README.md": "32,500",  # 64 * 500 + 500 parameters of the first dense layer
}
"""Text that the commands of a README print."""
OTHER_OPTIONS = {"--multirun", "--help", "--cfg", "--soak", "--forward-signals"}
"""Options of Hydra, pytest and wandb."""
CREATE_SWEEP = (
    "export SWEEP=$(wandb sweep --project digits sweeps/random.yaml 2>&1 "
    "| sed -n 's/.*wandb agent //p')"
)
INTERRUPT_LIVE_REPORT = r"""
set -m  # otherwise the shell makes background jobs ignore Ctrl-C
\1 > live.txt &
until grep -qs http://127.0.0.1 live.txt; do kill -0 $!; sleep 0.1; done
kill -INT $!
wait $! || [ $? = 130 ]
set +m
"""
REPORT_FAILURE = "trap 'echo \"failed: $BASH_COMMAND\" >&2' ERR"


@pytest.fixture
def clone(tmp_path):
    fresh = ProjectClone(tmp_path / "clone")
    fresh.save_files_of_the_reader()
    with serve_mirror({}) as server:
        fresh.serve_small_mnist(server)
        yield fresh


def to_script(block):
    """Return the shell commands that run a block; a file and its commands' output give none."""
    if block.file or block.language == "console":
        return ""
    if block.language == "python":
        return f"python - <<'END'\n{block.text}END\n"
    if block.language == "bash":
        return f"cat > job.sh <<'END'\n{block.text}END\nbash job.sh\n"
    assert block.language == "sh", block
    return re.sub(r"^(.* --live)$", INTERRUPT_LIVE_REPORT, block.text, flags=re.MULTILINE)


@pytest.mark.parametrize(
    "readme",
    [
        pytest.param(readme, marks=[pytest.mark.soak] if readme in SLOW_READMES else [])
        for readme in READMES
    ],
)
def test_readme_commands_work(clone, readme):
    blocks = [
        block
        for block in read_blocks(readme)
        if block.language != "bash"  # Slurm's, which test_slurm.py runs
        and block.text != INSTALL_AND_TEST
        and not re.search("|".join(SOAK_ONLY), block.text)
    ]
    result = clone.paste("\n".join([REPORT_FAILURE, *map(to_script, blocks)]))
    assert result.returncode == 0, result.stderr
    messages = result.stderr.splitlines()
    assert [line for line in messages if not line.startswith("downloading ")] == []
    assert OUTPUT.get(readme, "") in result.stdout


def test_extras_are_installed_before_they_are_needed():
    for readme in READMES:
        script = "".join(map(to_script, read_blocks(readme)))
        for needing, extra in REQUIRED_EXTRAS.items():
            before, needed, _ = script.partition(needing)
            assert not needed or f'pip install -e ".[{extra}]"' in before, readme


@pytest.mark.soak
@pytest.mark.parametrize("readme", READMES)
def test_whole_readme_runs_in_one_shell(clone, database_url, readme):
    """Placeholders are filled in; a W&B account, Slurm and Kaggle's files are provided."""
    with FakeWandbServer() as server:
        script = fill_in(readme, server.environment, database_url, clone.path / "shared")
        result = clone.paste(script)
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
        assert len(server.sweeps) == script.count(CREATE_SWEEP)
        assert {run.state for run in server.runs.values()} <= {"finished"}


def fill_in(readme, account, database, shared):
    """Join all blocks of a README into one script, with the placeholders filled in."""
    values = {
        "postgresql://USER@HOST/DATABASE": database,
        "/shared/": f"{shared}/",
        "--count 400": "--count 4",
        "--count 1000": "--count 2",
        "wandb sweep sweeps/random.yaml": CREATE_SWEEP,
        "ENTITY/PROJECT/SWEEP": "--count 1 $SWEEP",
        "ENTITY/PROJECT": "somebody/nn-sweeps",
    }
    names = [name for name in account if name != "PATH"]
    log_in = "\n".join(f"export {name}={shlex.quote(account[name])}" for name in names)
    log_out = f"unset {' '.join(names)}"
    scripts = [REPORT_FAILURE]
    for block in read_blocks(readme):
        script = to_script(block)
        needs_account = re.search(ACCOUNT, script)
        for placeholder, value in values.items():
            script = script.replace(placeholder, value)
        if "$SWEEP" in script and CREATE_SWEEP not in script:
            script = f"{CREATE_SWEEP}\n{script}"
        scripts.append(f"{log_in}\n{script}\n{log_out}" if needs_account else script)
    return "\n".join(scripts)


CONSOLE_EXAMPLES = [
    tuple(block.text.removeprefix("$ ").split("\n", 1))
    for readme in READMES
    for block in read_blocks(readme)
    if block.language == "console"
]


@pytest.mark.parametrize(("command", "answer"), CONSOLE_EXAMPLES)
def test_readme_console_output_is_accurate(workdir, command, answer):
    (workdir.path / "scripts").symlink_to(ROOT / "scripts")
    result = workdir.run(*shlex.split(command)[1:])
    assert result.stdout + result.stderr == answer


def test_setup_commands_match_ci():
    """.ci/run executes both of them in a fresh environment."""
    commands = [block.text for block in read_blocks("README.md")]
    assert commands[:2] == [INSTALL_AND_TRAIN, INSTALL_AND_TEST]


def test_model_with_the_wrong_number_of_outputs_is_refused(workdir):
    (workdir.path / "own.py").write_text(
        "from nn.layers import Dense, Flatten\n"
        "class Five:\n"
        "    def build_layers(self, num_classes, rngs):\n"
        "        return [Flatten(), Dense(5)]\n"
    )
    (workdir.path / "model").mkdir()
    (workdir.path / "model/five.yaml").write_text("_target_: own.Five\n")
    result = workdir.train("--config-dir", ".", "model=five", PYTHONPATH=".")
    assert result.returncode == 2
    expected = "dense1, has outputs of shape (5,), but 10 classes need (10,)."
    assert expected in result.stderr
    assert not workdir.runs


def read_table_rows(readme):
    """Return the cells of each table row of a page."""
    rows = [line for line in read_readme(readme).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def test_front_page_figures_match_the_full_tables():
    full_rows = read_table_rows("scripts/README.md")
    rows = read_table_rows("README.md")
    results = [row for row in rows if any("±" in cell for cell in row)]
    ratios = [row for row in rows if row[1].isdecimal()]
    assert results
    assert ratios
    for row, key_length in [*((row, 1) for row in results), *((row, 3) for row in ratios)]:
        key = row[:key_length]
        (full_row,) = (other for other in full_rows if other[:key_length] == key)
        assert set(row) <= set(full_row), row


GROUPS = [path.name for path in (ROOT / "conf").iterdir() if path.is_dir() and path.name != "hydra"]


def list_options(group):
    return sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))


def test_every_option_of_a_config_group_is_documented():
    rows = {row[0].strip("`"): row[2] for row in read_table_rows("conf/README.md") if len(row) > 2}
    for group in GROUPS:
        names = sorted(re.findall(r"`(\w+)`", rows[group]))
        assert names == ([] if group == "experiment" else list_options(group))


def test_every_setting_of_an_option_is_documented_with_its_default():
    rows = {
        name: row
        for row in read_table_rows("conf/README.md")
        for name in re.findall(r"`(\w+\.\w+)`", row[0])
    }
    components = set(GROUPS) - {"experiment", "debug"}
    files = [file for group in components for file in (ROOT / "conf" / group).glob("*.yaml")]
    defined = set()
    for file in files:
        group, config = file.parent.name, OmegaConf.load(file)
        if "defaults" in config:
            continue  # a variant of another option
        settings = OmegaConf.to_container(config.get(group, config), resolve=False)
        for name, value in settings.items():
            if name in ("_target_", "mode") or str(value).startswith("${"):
                continue
            defined.add(f"{group}.{name}")
            text = " ".join(rows[f"{group}.{name}"][1:])
            if isinstance(value, float):
                assert value in map(float, re.findall(r"\d[\d.]*(?:e-?\d+)?", text)), (name, file)
            elif not isinstance(value, list) or not value:
                expected = "required" if value == "???" else format_value(value)
                assert expected in text, (name, file)
    assert defined == rows.keys()


def test_every_command_line_option_is_documented_and_exists():
    names = "sweep", "report", "predict", "upload", "results", "benchmark"
    commands = [[f"scripts/{name}.py"] for name in names] + [["scripts/sweep.py", "status"]]
    processes = [
        subprocess.Popen(
            [sys.executable, *command, "--help"], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for command in commands
    ]
    helps = [process.communicate()[0] for process in processes]
    pages = [re.sub(r"```bash\n.*?```", "", read_readme(path), flags=re.DOTALL) for path in READMES]
    documented, existing = (
        set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", "\n".join(texts))) - OTHER_OPTIONS
        for texts in (pages, helps)
    )
    assert documented == existing


def anchors(path):
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


@pytest.mark.parametrize("readme", READMES)
def test_linked_files_exist(readme):
    for target in re.findall(r"\]\(([^)]+)\)", read_readme(readme)):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        path = (ROOT / readme).parent / file if file else ROOT / readme
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


def test_every_readme_is_checked():
    directories = "conf", "nn", "scripts", "sweeps"
    found = [file for name in directories for file in (ROOT / name).rglob("README.md")]
    assert {ROOT / readme for readme in READMES} == {ROOT / "README.md", *found}
