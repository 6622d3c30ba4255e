"""scripts/predict.py labels the samples in any common file, or reports why it cannot."""

from __future__ import annotations

import csv
import gzip
import io
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from nn.errors import UserError
from nn.io.files import staged_files
from nn.predict import array_files
from nn.predict.inputs import read_images
from nn.predict.predictor import Predictor
from nn.runs.reader import SavedRun
from tests.conftest import PREDICT_SCRIPT, WorkingDirectory
from tests.data.idx_files import INPUT_SPEC, write_idx
from tests.directory_snapshot import assert_unchanged

IMAGE_SIZE = 12


def letter_images(count, seed=0):
    """Draw images of three letters, light on dark, with a little noise."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 40, (count, IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8)
    labels = rng.integers(0, 3, count)
    images[labels == 0, 2:10, 5:7] = 255
    images[labels == 1, 5:7, 2:10] = 255
    images[labels == 2, 2:10, 2:4] = 255
    images[labels == 2, 8:10, 2:10] = 255
    return images, labels


IMAGES, LABELS = letter_images(60, seed=1)


@pytest.fixture(scope="module")
def trained_run(tmp_path_factory):
    """A run that has learned the letters perfectly."""
    workdir = WorkingDirectory(tmp_path_factory.mktemp("trained") / "work")
    images, labels = letter_images(400)
    write_idx(workdir.path / "images", images)
    write_idx(workdir.path / "labels", labels.astype(np.uint8))
    args = "dataset=idx dataset.train_images=images dataset.train_labels=labels epochs=8"
    result = workdir.train(*args.split(), "hydra.run.dir=run", HOME=str(workdir.path))
    assert result.returncode == 0, result.stderr
    return workdir.path / "run"


@pytest.fixture
def predict(workdir, trained_run):
    def predict(*args, status=0, run=trained_run):
        result = workdir.run(PREDICT_SCRIPT, str(run), *map(str, args))
        assert result.returncode == status, result.stdout + result.stderr
        assert "Traceback" not in result.stderr
        return result.stderr if status else result.stdout

    return predict


def write_csv(path, images, labels=None, header=True):
    names = [*([] if labels is None else ["label"]), *(f"pixel{n}" for n in range(IMAGE_SIZE**2))]
    rows = images.reshape(len(images), -1).tolist()
    if labels is not None:
        rows = [[label, *row] for label, row in zip(labels.tolist(), rows, strict=True)]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([*([names] if header else []), *rows])


def kaggle_csv(labels):
    return "ImageId,Label\n" + "".join(f"{n},{label}\n" for n, label in enumerate(labels, 1))


def save_image(path, pixels, **settings):
    Image.fromarray(pixels).save(path, **settings)
    return path


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("header", [False, True])
def test_csv_file_gives_labels_in_kaggle_format(workdir, predict, header, labelled):
    write_csv(workdir.path / "test.csv", IMAGES, LABELS if labelled else None, header)
    output = predict("test.csv", "--output", "label.csv")
    assert (workdir.path / "label.csv").read_bytes() == kaggle_csv(LABELS).encode()
    assert ("accuracy 100.00\u00a0%: 60 of 60 samples" in output) == labelled
    assert output.splitlines()[-1] == "label.csv"


@pytest.mark.parametrize("compressed", [False, True])
def test_idx_file_gives_labels_and_with_true_labels_the_accuracy(workdir, predict, compressed):
    write_idx(workdir.path / "images", IMAGES, compressed)
    truth = LABELS.astype(np.uint8)
    truth[:3] = (truth[:3] + 1) % 3
    write_idx(workdir.path / "labels", truth, compressed)
    output = predict("images", "--labels", "labels", "--output", "label.csv")
    assert (workdir.path / "label.csv").read_text() == kaggle_csv(LABELS)
    assert "accuracy 95.00\u00a0%: 57 of 60 samples" in output


@pytest.mark.parametrize("kind", ["npy", "csv", "headerless"])
def test_true_labels_may_be_an_array_or_a_kaggle_csv(workdir, predict, kind):
    np.save(workdir.path / "images.npy", IMAGES)
    path = workdir.path / f"labels.{kind}"
    if kind == "npy":
        np.save(path, LABELS)
    else:
        path.write_text(kaggle_csv(LABELS).split("\n", kind == "headerless")[-1])
    assert "60 of 60" in predict("images.npy", "--labels", path)


@pytest.mark.parametrize(
    "array",
    [
        IMAGES,
        IMAGES[:, None],
        IMAGES[..., None],
        IMAGES.reshape(60, -1),
        IMAGES.astype(np.float64),
        IMAGES.astype(np.int16),
        np.asfortranarray(IMAGES),
    ],
    ids=["images", "channels", "channels last", "flat", "floats", "integers", "by columns"],
)
def test_equivalent_array_layouts_give_the_same_labels(workdir, predict, array):
    np.save(workdir.path / "images.npy", array)
    predict("images.npy", "--output", "label.csv")
    assert (workdir.path / "label.csv").read_text() == kaggle_csv(LABELS)


def test_values_from_0_to_1_are_rescaled_and_reported(workdir, predict):
    np.save(workdir.path / "images.npy", IMAGES / 255)
    output = predict("images.npy", "--output", "label.csv")
    assert "values from 0 to 1 were multiplied by 255" in output
    assert (workdir.path / "label.csv").read_text() == kaggle_csv(LABELS)


@pytest.mark.parametrize("form", ["bytes", "csv"])
def test_binary_images_are_rescaled_and_reported(workdir, predict, form):
    letters = (IMAGES > 100).astype(np.uint8)
    if form == "csv":
        write_csv(workdir.path / "letters.csv", letters)
    else:
        np.save(workdir.path / "letters.npy", letters)
    (path,) = workdir.path.glob("letters.*")
    assert "multiplied by 255" in predict(path, "--output", "label.csv")
    assert (workdir.path / "label.csv").read_text() == kaggle_csv(LABELS)


def test_csv_file_is_read_with_the_settings_of_the_run(workdir, predict):
    """The label is in the last column, without a header, as dataset.label=last specifies."""
    images, labels = letter_images(200)
    rows = np.column_stack([images.reshape(200, -1), labels])
    np.savetxt(workdir.path / "train.csv", rows, "%d", ",")
    args = "dataset=csv dataset.train=train.csv dataset.label=last epochs=9 hydra.run.dir=last"
    assert workdir.train(*args.split()).returncode == 0
    rows = np.column_stack([IMAGES.reshape(60, -1), LABELS])
    np.savetxt(workdir.path / "test.csv", rows, "%d", ",")
    assert "60 of 60" in predict("test.csv", run="last")


def test_array_may_hold_a_single_image(workdir, predict):
    np.save(workdir.path / "image.npy", IMAGES[4])
    assert predict("image.npy").startswith(f"1: {LABELS[4]} (")


def test_probabilities_are_written_on_request(workdir, predict):
    np.save(workdir.path / "images.npy", IMAGES)
    predict("images.npy", "--output", "label.csv", "--probabilities")
    header, *rows = csv.reader(io.StringIO((workdir.path / "label.csv").read_text()))
    assert header == ["ImageId", "Label", "0", "1", "2"]
    shares = np.array([row[2:] for row in rows], float)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    assert shares.argmax(axis=1).tolist() == LABELS.tolist()


def test_predictions_match_those_of_the_run(workdir):
    """predict.py computes for the test set the probabilities that training has stored."""
    write_idx(workdir.path / "images", IMAGES)
    write_idx(workdir.path / "labels", LABELS.astype(np.uint8))
    parts = [(part, what) for part in ("train", "test") for what in ("images", "labels")]
    files = [f"dataset.{part}_{what}={what}" for part, what in parts]
    choices = [
        "model=cnn",
        "loss=mse",
        "dataset.normalize=standard",
        "restore_best=true",
        "dropout=0.2",
    ]
    result = workdir.train("dataset=idx", *files, *choices, "epochs=3", "hydra.run.dir=run")
    assert result.returncode == 0, result.stderr
    predictor = Predictor.from_run(workdir.path / "run")
    content = array_files.read_samples(workdir.path / "images", predictor.input_spec)
    saved = SavedRun(workdir.path / "run").predictions
    np.testing.assert_array_equal(predictor.predict_proba(content.samples), saved.probabilities)


def test_image_preprocessing_is_applied_and_reported(workdir, predict):
    folder = workdir.path / "scans"
    folder.mkdir()
    large = [np.kron(image, np.ones((9, 9), np.uint8)) for image in IMAGES]
    save_image(folder / "10.png", 255 - large[0])
    save_image(folder / "9.jpg", large[1], quality=95)
    save_image(folder / "2.png", IMAGES[2])
    wide = np.zeros((108, 200), np.uint8)
    wide[:, 46:154] = large[3]
    save_image(folder / "30.PNG", np.stack([wide] * 3, axis=-1))
    framed = "framed like the training images"
    notes = [
        f"scans/9.jpg: 108 x 108 resized to 12 x 12, contrast stretched, {framed}",
        f"scans/10.png: 108 x 108 resized to 12 x 12, inverted, {framed}",
        f"scans/30.PNG: 200 x 108 resized to 12 x 12, {framed}",
    ]
    output = predict("scans", "--output", "label.csv").splitlines()
    assert output[:3] == notes
    names = [line.split(":")[0] for line in output[3:7]]
    assert names == ["scans/2.png", "scans/9.jpg", "scans/10.png", "scans/30.PNG"]
    rows = list(csv.reader((workdir.path / "label.csv").read_text().splitlines()))
    assert [row[0] for row in rows] == ["File", *names]
    assert [int(row[1]) for row in rows[1:4]] == [LABELS[2], LABELS[1], LABELS[0]]


def test_inversion_can_be_forced_or_disabled(workdir, predict):
    save_image(workdir.path / "a.png", 255 - IMAGES[0])
    assert "inverted" in predict("a.png")
    assert "inverted" not in predict("a.png", "--invert", "no")
    save_image(workdir.path / "a.png", IMAGES[0])
    assert "inverted" not in predict("a.png")
    assert "inverted" in predict("a.png", "--invert", "yes")


@pytest.mark.parametrize("ink", [0, 255])
def test_transparency_is_background(workdir, predict, ink):
    pixels = np.full((IMAGE_SIZE, IMAGE_SIZE, 4), ink, np.uint8)
    pixels[..., 3] = np.where(IMAGES[5] > 100, 255, 0)
    save_image(workdir.path / "clear.png", pixels)
    assert f"clear.png: {LABELS[5]} (" in predict("clear.png")


def test_16_bit_and_exif_rotated_images_are_read(workdir, predict):
    save_image(workdir.path / "deep.png", IMAGES[6].astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    large = np.kron(np.rot90(IMAGES[7]), np.ones((8, 8), np.uint8))
    save_image(workdir.path / "turned.jpg", large, exif=exif, quality=95)
    output = predict("deep.png", "turned.jpg")
    assert f"deep.png: {LABELS[6]} (" in output
    assert f"turned.jpg: {LABELS[7]} (" in output


@pytest.mark.soak
def test_image_grid_starts_at_an_offset_and_marks_errors(workdir, predict):
    np.save(workdir.path / "images.npy", IMAGES)
    truth = LABELS.copy()
    truth[20] = (truth[20] + 1) % 3
    np.save(workdir.path / "labels.npy", truth)
    args = ("images.npy", "--labels", "labels.npy", "--figure", "seen.png", "--overwrite")
    orange, sizes = [], []
    for start in (1, 20, 22, 60):
        predict(*args, "--first", start)
        with Image.open(workdir.path / "seen.png") as image:
            pixels = np.asarray(image.convert("RGB")).astype(int)
        sizes.append(pixels.shape[0])
        orange.append(int(((pixels[..., 0] - pixels[..., 2]) > 80).sum()))
    assert min(orange[:2]) > 200
    assert orange[2:] == [0, 0]
    assert sizes[0] > sizes[1] > sizes[3]


def test_existing_file_is_overwritten_only_with_force(workdir, predict):
    np.save(workdir.path / "images.npy", IMAGES)
    (workdir.path / "label.csv").write_text("mine")
    output = predict("images.npy", "--output", "label.csv", status=2)
    assert output == "label.csv already exists; --overwrite replaces it.\n"
    assert (workdir.path / "label.csv").read_text() == "mine"
    predict("images.npy", "--output", "label.csv", "--overwrite")
    assert (workdir.path / "label.csv").read_text() == kaggle_csv(LABELS)


def test_run_files_are_never_overwritten(workdir, predict, trained_run):
    shutil.copytree(trained_run, workdir.path / "run")
    np.save(workdir.path / "images.npy", IMAGES)
    for name in ("checkpoints/last.safetensors", "config.yaml"):
        output = predict(
            "images.npy", "--output", f"run/{name}", "--overwrite", status=2, run="run"
        )
        assert output == f"run/{name} is an input or part of the run; name another file.\n"
    predict("images.npy", "--output", "run/label.csv", run="run")


def test_output_link_is_followed_and_kept(workdir, predict):
    np.save(workdir.path / "images.npy", IMAGES)
    (workdir.path / "real.csv").write_text("old")
    (workdir.path / "link.csv").symlink_to("real.csv")
    predict("images.npy", "--output", "link.csv", "--overwrite")
    assert (workdir.path / "link.csv").is_symlink()
    assert (workdir.path / "real.csv").read_text() == kaggle_csv(LABELS)


def test_outputs_are_written_together_or_not_at_all(workdir, monkeypatch):
    first, second = workdir.path / "label.csv", workdir.path / "gone/seen.png"
    with (
        pytest.raises(
            UserError, match=r"gone/seen.png: nothing can be written there: No such file"
        ),
        staged_files([(first, b"labels"), (second, b"picture")]),
    ):
        pytest.fail("everything was written")
    assert list(workdir.path.iterdir()) == []


def test_closed_stdout_or_ascii_terminal_still_writes_files(workdir, trained_run):
    np.save(workdir.path / "images.npy", IMAGES)
    for number, args in enumerate(({"PYTHONIOENCODING": "ascii"}, {"PYTHONUNBUFFERED": "1"})):
        name = f"{number}.csv"
        process = workdir.start(
            PREDICT_SCRIPT, str(trained_run), "images.npy", "--output", name, **args
        )
        if number:
            process.stdout.close()
            process.stdout = None
        _, output = process.communicate(timeout=60)
        assert output == ""
        assert (workdir.path / name).read_text() == kaggle_csv(LABELS)


def test_unfinished_run_is_reported(workdir, trained_run, predict):
    shutil.copytree(trained_run, workdir.path / "run")
    (workdir.path / "run/summary.json").unlink()
    np.save(workdir.path / "images.npy", IMAGES)
    output = predict("images.npy", run="run")
    assert output.startswith("run is not finished: these are its weights after epoch 8\n")


def write_invalid_files(folder):
    """Write one file of every kind that must be refused."""
    (folder / "empty.csv").touch()
    (folder / "empty.png").touch()
    (folder / "fake.png").write_text("no image")
    (folder / "cut.png").write_bytes(save_image(folder / "a.png", IMAGES[0]).read_bytes()[:90])
    (folder / "fake.npy").write_text("no array")
    (folder / "nothing").mkdir()
    (folder / "words.csv").write_text("what,ever\nis,here\n")
    (folder / "cut.idx").write_bytes(b"\0\0\x08\x03\0\0\0\x09")
    np.save(folder / "objects.npy", np.array([{}, {}], object), allow_pickle=True)
    np.save(folder / "small.npy", np.zeros((2, 8, 8), np.uint8))
    np.save(folder / "nan.npy", np.full((2, IMAGE_SIZE, IMAGE_SIZE), np.nan))
    np.save(folder / "huge.npy", np.full((2, IMAGE_SIZE, IMAGE_SIZE), 5000.0))
    np.save(
        folder / "below.npy",
        np.linspace(-1, 0, 2 * IMAGE_SIZE**2).reshape(2, IMAGE_SIZE, IMAGE_SIZE),
    )
    np.save(folder / "complex.npy", np.zeros((2, IMAGE_SIZE, IMAGE_SIZE), complex))
    header = b"{" * 118
    (folder / "junk.npy").write_bytes(b"\x93NUMPY\x01\x00" + bytes([len(header), 0]) + header)
    (folder / "order.csv").write_text(kaggle_csv(LABELS).replace("\n7,", "\n70,"))
    (folder / "dangling").symlink_to("nowhere")
    np.save(folder / "none.npy", np.zeros((0, IMAGE_SIZE, IMAGE_SIZE)))
    np.save(folder / "good.npy", IMAGES)
    np.save(folder / "short.npy", LABELS[:-1])
    np.save(folder / "strange.npy", LABELS + 7)
    content = (folder / "good.npy").read_bytes()
    (folder / "torn.npy").write_bytes(content[: len(content) // 2])
    write_idx(folder / "torn.gz", IMAGES, compressed=True)
    (folder / "torn.gz").write_bytes((folder / "torn.gz").read_bytes()[:-20])
    write_csv(folder / "named.csv", IMAGES, LABELS)
    text = (folder / "named.csv").read_text()
    (folder / "unnamed.csv").write_text(text.replace("label", "what", 1))
    (folder / "taken").mkdir()


@pytest.mark.sampled(8)
@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("absent.csv", "absent.csv: there is no such file."),
        ("absent.png", "absent.png: there is no such file."),
        ("empty.csv", "empty.csv is empty."),
        ("empty.png", "empty.png is empty."),
        ("fake.png", "fake.png is not an image of a supported format (PNG, JPEG, GIF"),
        ("cut.png", "cut.png is a damaged image:"),
        ("fake.npy", "fake.npy is not a NumPy .npy file."),
        ("nothing", "nothing: this directory has no images (PNG, JPEG, GIF"),
        ("words.csv", "words.csv, row 2, column 1: 'is' is not a number."),
        ("cut.idx", "cut.idx is truncated in its header."),
        ("objects.npy", "objects.npy has values of type object; they must be numbers."),
        ("torn.npy", "torn.npy is not a complete .npy array of numbers."),
        ("torn.gz", "the compressed data is truncated or damaged."),
        ("none.npy", "none.npy has no values: its shape is 0 x 12 x 12."),
        ("nan.npy", "nan.npy has values that are not finite."),
        (
            "huge.npy",
            "huge.npy has values from 5000 to 5000; the model was trained on 0 to 255.",
        ),
        ("below.npy", "below.npy has values from -1 to 0; the model was trained on 0 to 255."),
        ("complex.npy", "complex.npy has values of type complex128; they must be numbers."),
        ("junk.npy", "junk.npy is not a complete .npy array of numbers."),
        ("good.npy --labels order.csv", "order.csv: its rows are not sorted by ImageId."),
        (
            "good.npy --figure seen.jpg",
            "--figure seen.jpg: the image is a PNG; use a file name like grid.png.",
        ),
        ("good.npy --output dangling", "dangling is a broken symbolic link; name another file."),
        ("small.npy", "small.npy has samples of 8 x 8; the model takes 12 x 12."),
        (
            "unnamed.csv",
            "its 145 columns, from what to pixel143, is named label.",
        ),
        ("named.csv --labels short.npy", "named.csv already contains labels."),
        ("good.npy --labels short.npy", "short.npy has 59 labels for 60 samples."),
        ("good.npy --labels strange.npy", "has the label"),
        ("good.npy a.png", "a.png: a file of samples cannot be combined with other inputs."),
        ("good.npy --invert yes", "--invert yes: only images can be inverted."),
        ("good.npy --probabilities", "has no effect without --output FILE."),
        ("good.npy --first 2", "has no effect without --figure FILE."),
        ("good.npy --first 61 --figure new.png", "--first 61: there are 60 samples."),
        ("good.npy --first 0", "0 must be a whole number, at least 1"),
        ("good.npy --output taken", "taken is a directory; name a file."),
        ("good.npy --output absent/new.csv", "absent/new.csv: nothing can be written there"),
        ("good.npy --output /proc/new.csv", "/proc/new.csv: nothing can be written there"),
        (
            "good.npy --output /dev/null --overwrite",
            "/dev/null is not a regular file; name another one.",
        ),
        (
            "good.npy --output good.npy --overwrite",
            "good.npy is an input or part of the run; name another file.",
        ),
        ("good.npy --output new.png --figure new.png", "two outputs cannot be the same file."),
        ("", "the following arguments are required: INPUT"),
    ],
)
def test_usage_errors_are_one_line_and_write_nothing(workdir, predict, args, message):
    write_invalid_files(workdir.path)
    with assert_unchanged(workdir.path):
        answer = predict(*args.split(), status=2)
    assert message in answer
    assert answer.count("\n") == 1 or "usage:" in answer


def test_model_without_image_inputs_refuses_images(workdir, predict):
    rng = np.random.default_rng(0)
    write_idx(workdir.path / "x", rng.random((90, 5), np.float32))
    write_idx(workdir.path / "y", (np.arange(90) % 3).astype(np.uint8))
    files = ["dataset.train_images=x", "dataset.train_labels=y"]
    workdir.train("dataset=idx", *files, "epochs=1", "hydra.run.dir=run")
    save_image(workdir.path / "a.png", IMAGES[0])
    output = predict("a.png", status=2, run="run")
    assert output == "a.png: the model takes samples of 5, which are not images.\n"
    output = predict("x", "--figure", "seen.png", status=2, run="run")
    assert output == "--figure: the inputs of this model are not images.\n"
    assert "90 samples: " in predict("x", run="run")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "is not a run directory: it has no config.yaml."),
        (lambda run: shutil.rmtree(run / "checkpoints"), "there is no checkpoint in"),
        (lambda run: corrupt_checkpoint(run), "last.safetensors is damaged."),
        (
            lambda run: replace_in_config(run, "width: 128", "width: 64"),
            "config.yaml and checkpoint differ",
        ),
        (
            lambda run: replace_in_config(run, "threads: 1", "threads: many"),
            "threads must be a whole",
        ),
        (
            lambda run: replace_in_config(run, "nn.models.MLP", "os.system"),
            "os is not trusted to run",
        ),
        (
            lambda run: replace_in_config(run, "nn.models.MLP", "nn.runs.runner.run"),
            "a subclass of Model.",
        ),
    ],
)
def test_unusable_run_is_refused(workdir, predict, trained_run, damage, message):
    shutil.copytree(trained_run, workdir.path / "run")
    damage(workdir.path / "run")
    np.save(workdir.path / "images.npy", IMAGES)
    assert message in predict("images.npy", "--output", "label.csv", status=2, run="run")
    assert not (workdir.path / "label.csv").exists()


def corrupt_checkpoint(run):
    path = run / "checkpoints/last.safetensors"
    path.write_bytes(path.read_bytes()[:-8] + bytes(8))


def replace_in_config(run, old, new):
    path = run / "config.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_outdated_checkpoint_is_distinguished_from_a_damaged_one(workdir, trained_run):
    from nn.runs import checkpoint

    run = workdir.path / "run"
    shutil.copytree(trained_run, run)
    snapshot = checkpoint.load_best_or_last(run)
    del snapshot.metadata["input_spec"]
    checkpoint.save(run / "checkpoints/last.safetensors", snapshot)
    with pytest.raises(
        UserError, match="earlier version and does not describe the inputs of its network"
    ):
        Predictor.from_run(run)


def test_custom_model_requires_trust(workdir, predict, monkeypatch):
    (workdir.path / "mine.py").write_text(
        "from nn.layers import Dense, Flatten\n"
        "class Own:\n"
        "    def build_layers(self, num_classes, rngs):\n"
        "        return [Flatten(), Dense(num_classes)]\n"
    )
    (workdir.path / "model").mkdir()
    (workdir.path / "model/own.yaml").write_text("_target_: mine.Own\n")
    monkeypatch.setenv("PYTHONPATH", str(workdir.path))
    args = ("--config-dir", ".", "model=own", "epochs=1", "hydra.run.dir=run")
    assert workdir.train(*args).returncode == 0
    np.save(workdir.path / "x.npy", np.zeros((2, 8, 8), np.uint8))
    output = predict("x.npy", status=2, run="run")
    assert "mine is not trusted to run; --trust mine allows it." in output
    assert predict("x.npy", "--trust", "mine", run="run").startswith("1: ")


def test_color_images_are_read_in_color(tmp_path):
    inputs = replace(INPUT_SPEC, shape=(3, 6, 6))
    pixels = np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8)
    pixels[[0, -1]] = pixels[:, [0, -1]] = 0
    batch = read_images([save_image(tmp_path / "a.png", pixels)], inputs, "auto")
    np.testing.assert_array_equal(batch.samples[0], np.moveaxis(pixels, -1, 0))
    assert not batch.notes


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_files_are_read_or_refused(trained_run, tmp_path_factory, data):
    """A file with arbitrary content is read or refused in one sentence."""
    directory = tmp_path_factory.mktemp("damaged")
    kind = data.draw(st.sampled_from(["png", "jpg", "npy", "idx", "csv"]))
    path = directory / f"file.{kind}"
    match kind:
        case "png" | "jpg":
            save_image(path, IMAGES[0])
        case "npy":
            np.save(path, IMAGES[:3])
        case "idx":
            write_idx(path, IMAGES[:3])
        case "csv":
            write_csv(path, IMAGES[:3], LABELS[:3])
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, min(len(content), 400) - 1))] = data.draw(
            st.integers(0, 255)
        )
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    reader = read_images if kind in ("png", "jpg") else None
    inputs = Predictor.from_run(trained_run).input_spec
    try:
        if reader:
            reader([path], inputs, "auto")
        else:
            array_files.read_samples(path, inputs)
    except UserError as error:
        assert str(error).endswith((".", "...")), str(error)


@pytest.mark.parametrize("kind", ["gif", "tif", "tiff", "webp", "bmp"])
def test_common_image_formats_are_read(workdir, predict, kind):
    settings = {"lossless": True} if kind == "webp" else {}
    (workdir.path / "scans").mkdir()
    save_image(workdir.path / f"scans/a.{kind}", IMAGES[5], **settings)
    (workdir.path / "without suffix").write_bytes((workdir.path / f"scans/a.{kind}").read_bytes())
    assert f"scans/a.{kind}: {LABELS[5]} (" in predict("scans")
    assert f"without suffix: {LABELS[5]} (" in predict("without suffix")


@pytest.mark.parametrize("kind", ["gif", "tiff", "webp", "png"])
def test_only_the_first_frame_of_an_animation_is_read(workdir, predict, kind):
    settings = {"lossless": True} if kind == "webp" else {}
    first, second = (Image.fromarray(IMAGES[number]) for number in (5, 6))
    first.save(workdir.path / f"a.{kind}", save_all=True, append_images=[second], **settings)
    output = predict(f"a.{kind}")
    assert f"a.{kind}: only the first frame is read\n" in output
    assert f"a.{kind}: {LABELS[5]} (" in output


@pytest.mark.parametrize("top", [1, 255, 65535, 4e9])
def test_floating_point_images_of_any_range_are_read(workdir, predict, top):
    levels = (IMAGES[6] / 255 * top).astype(np.float32)
    Image.fromarray(levels).save(workdir.path / "deep.tiff")
    assert f"deep.tiff: {LABELS[6]} (" in predict("deep.tiff")


def test_compressed_and_unusual_images_are_read(workdir, predict):
    Image.fromarray(IMAGES[7]).save(workdir.path / "a.tiff", compression="tiff_lzw")
    packed = gzip.compress((workdir.path / "a.tiff").read_bytes())
    (workdir.path / "a.tiff.gz").write_bytes(packed)
    for mode in ("CMYK", "LAB", "1", "P", "RGBA"):
        image = Image.fromarray(IMAGES[7]).convert("RGB")
        if mode == "LAB":
            image = ImageCms.applyTransform(
                image,
                ImageCms.buildTransform(
                    ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
                ),
            )
        else:
            image = image.convert(mode)
        image.save(workdir.path / f"{mode}.tiff")
    names = ("a.tiff.gz", "CMYK.tiff", "LAB.tiff", "1.tiff", "P.tiff", "RGBA.tiff")
    output = predict(*names)
    for name in names:
        assert f"{name}: {LABELS[7]} (" in output


def test_oversized_image_is_refused_without_decoding(workdir, predict):
    header = b"BM" + bytes(8) + (54).to_bytes(4, "little") + (40).to_bytes(4, "little")
    size = (60_000).to_bytes(4, "little") * 2
    (workdir.path / "bomb.bmp").write_bytes(header + size + b"\1\0\x08\0" + bytes(200))
    output = predict("bomb.bmp", status=2)
    assert output == "bomb.bmp has too many pixels to be decoded safely.\n"


def test_npz_archive_is_predicted(workdir, predict):
    np.savez(workdir.path / "letters.npz", x_train=IMAGES[:5], x_test=IMAGES, y_test=LABELS)
    output = predict("letters.npz", "--output", "label.csv")
    assert output.startswith("letters.npz: read x_test and y_test of its 3 arrays\n")
    assert "60 of 60" in output
    assert (workdir.path / "label.csv").read_text() == kaggle_csv(LABELS)


def test_labels_of_images_are_listed_by_file_name(workdir, predict):
    names = ["2.png", "10.png", "a,b.png", 'quote".png', "two\nlines.png", "cr\rhere.png", "ä.png"]
    folder = workdir.path / "scans"
    folder.mkdir()
    for number, name in enumerate(names):
        save_image(folder / name, IMAGES[number])
    strange = os.fsencode(folder) + b"/\xff.png"
    Path(os.fsdecode(strange)).write_bytes((folder / "2.png").read_bytes())
    predict("scans", "--output", "label.csv", "--figure", "seen.png", "--probabilities")
    with (workdir.path / "label.csv").open(encoding="utf-8", newline="") as file:
        header, *found = csv.reader(file)
    assert header == ["File", "Label", "0", "1", "2"]
    expected = {f"scans/{name}": str(LABELS[number]) for number, name in enumerate(names)}
    expected["scans/\\xff.png"] = str(LABELS[0])
    assert {name: label for name, label, *_ in found} == expected
    predict("scans/2.png", "--output", "one.csv")
    assert (workdir.path / "one.csv").read_text() == f"File,Label\nscans/2.png,{LABELS[0]}\n"
