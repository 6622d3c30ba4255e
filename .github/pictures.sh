#!/usr/bin/env bash
# Redraw the pictures of the README files from new runs, in about five minutes.
# Arguments are settings of the run on Fashion-MNIST: .github/pictures.sh dataset.root=path/to/it
set -euo pipefail
cd "$(dirname "$0")/.."

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
export WANDB_MODE=disabled

python scripts/train.py "hydra.run.dir=$place/fashion" dataset=fashion_mnist model=cnn \
  optimizer=adam epochs=6 restore_best=true "$@"
python scripts/report.py "$place/fashion"
python scripts/sweep.py sweeps/wide.yaml --count 40 --output "$place/wide"
python scripts/report.py "$place/wide" --png-dir "$place"
mv "$place/parallel.png" .github/parallel.png

python - "$place/fashion/report.html" .github/report.png << 'END'
import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

page_file, picture = sys.argv[1:]
with sync_playwright() as playwright:
    path = shutil.which("chromium")
    browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
    page = browser.new_page(viewport={"width": 1280, "height": 1480}, color_scheme="light")
    page.goto(Path(page_file).as_uri())
    page.wait_for_selector("html[data-drawn=all]", state="attached")
    page.evaluate("document.querySelector('.kicker span').remove()")
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    browser.close()
shot.quantize(160, dither=Image.Dither.NONE).save(picture, optimize=True)
END
ls -l .github/*.png
