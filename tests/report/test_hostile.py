"""Script injection in every field of runs and sweeps stays text, on static and on live pages."""

from __future__ import annotations

import json
import shutil
from urllib.parse import quote

import pytest
import yaml

from nn.report.build import ReportOptions, build_report
from tests.conftest import WorkingDirectory
from tests.report.browser import needs_chromium, open_page
from tests.report.factories import XSS_STRING, make_run, make_sweep, replace_classes, update_json
from tests.report.live_server import live_browser, start_server

pytestmark = needs_chromium
HOSTILE = f"{XSS_STRING}\u202e<svg/onload=alert(2)><!--"
RUN_NAME = "<img src=x onerror=alert(3)>\"'&"
ELEMENTS = "[onerror], [onload], img[src=x], a[href^='javascript:'], base, iframe, object"
PAGES = {
    "index": ((), "/"),
    "run": ((RUN_NAME,), f"/page/{quote(RUN_NAME)}"),
    "sweep": (("sweep",), "/page/sweep"),
    "comparison": ((RUN_NAME, "__proto__"), f"/compare?run={quote(RUN_NAME)}&run=__proto__"),
}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    workdir = WorkingDirectory(tmp_path_factory.mktemp("hostile") / "work")
    plain = make_run(workdir.path / "plain")
    for name in (RUN_NAME, "__proto__"):
        make_hostile(shutil.copytree(plain, workdir.path / "runs" / name))
    optimizers = [HOSTILE, "adam", "{{7*7}}", "</script><script>alert(1)</script>"]
    sweep_config = {
        "name": HOSTILE, "description": HOSTILE, "program": HOSTILE, "method": "random",
        "metric": {"name": "val/loss", "goal": "minimize"},
        "parameters": {
            "lr": {"distribution": "log_uniform_values", "min": 0.001, "max": 0.5},
            "optimizer": {"values": optimizers},
            "activation": {"values": [1, 2, HOSTILE]},
        },
    }  # fmt: skip
    states = ("finished", "pruned", "failed", "running", "finished")
    make_sweep(workdir.path / "runs/sweep", 24, sweep_config=sweep_config, states=states)
    return workdir


def make_hostile(run):
    """Replace the texts in all files of a run."""
    replace_classes(run)
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["tracking"] |= dict.fromkeys(("name", "notes", "group", "project"), HOSTILE)
    config["tracking"]["tags"] = [HOSTILE, "{{7*7}}", "javascript:alert(1)"]
    config["dataset"]["_target_"] = HOSTILE
    config["choices"] |= dict.fromkeys(("dataset", "model", "optimizer"), HOSTILE)
    config[HOSTILE] = HOSTILE
    config["__proto__"] = HOSTILE
    config["model"][HOSTILE] = {HOSTILE: [HOSTILE, 1, None]}
    (run / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True))
    names = ("command", "host", "cpu_model", "platform", "python", "started_at", "run_id")
    update_json(
        run, "environment.json", **dict.fromkeys(names, HOSTILE),
        git={"commit": HOSTILE, "dirty": HOSTILE}, packages={HOSTILE: HOSTILE},
    )  # fmt: skip
    model = json.loads((run / "model.json").read_text())
    for layer in model["layers"]:
        layer["name"] += HOSTILE
    (run / "model.json").write_text(json.dumps(model))
    update_json(run, "summary.json", **{HOSTILE: HOSTILE, "weights/sha256": HOSTILE})
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    records = [json.dumps({**line, HOSTILE: HOSTILE, f"{HOSTILE}/x": 1}) for line in lines]
    (run / "history.jsonl").write_text("\n".join(records) + "\n")


@pytest.mark.parametrize("kind", PAGES)
def test_static_page_shows_hostile_texts_as_text(browser, workdir, tmp_path, kind):
    names, _ = PAGES[kind]
    output = tmp_path / f"{kind}.html"
    folders = [workdir.path / "runs" / name for name in names or ("",)]
    build_report(ReportOptions(folders, output))
    with open_page(browser, output) as page:
        assert page.locator(ELEMENTS).count() == 0
        assert "<img src=x onerror=alert(" in page.locator("body").inner_text()


def test_live_pages_show_hostile_texts_as_text(browser, workdir):
    with start_server(workdir) as server, live_browser(browser, server) as live:
        for _, path in PAGES.values():
            page = live.open(path)
            page.locator("footer").get_by_text("from").or_(page.locator("figure")).first.wait_for()
            assert page.locator(ELEMENTS).count() == 0
            assert "<img src=x onerror=alert(" in page.locator("body").inner_text()
        page = live.open("/")
        for name in (RUN_NAME, "__proto__"):
            link = page.get_by_role("link", name=name, exact=True)
            page.locator("tr", has=link).get_by_role("checkbox").check()
        page.get_by_role("link", name="Compare", exact=True).click()
        page.locator("h2", has_text="Scores").wait_for()
