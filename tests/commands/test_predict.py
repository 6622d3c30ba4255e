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
from tests.conftest import ROOT, Workplace
from tests.data.idx_files import INPUT_SPEC, write_idx
from tests.unchanged import unchanged

PREDICT = str(ROOT / "scripts/predict.py")
SIDE = 12


def letters(count, seed=0):
    """Draw images of three letters, light on dark, with a little noise."""
    chance = np.random.default_rng(seed)
    images = chance.integers(0, 40, (count, SIDE, SIDE), dtype=np.uint8)
    labels = chance.integers(0, 3, count)
    images[labels == 0, 2:10, 5:7] = 255
    images[labels == 1, 5:7, 2:10] = 255
    images[labels == 2, 2:10, 2:4] = 255
    images[labels == 2, 8:10, 2:10] = 255
    return images, labels


IMAGES, LABELS = letters(60, seed=1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that has learned the letters perfectly."""
    place = Workplace(tmp_path_factory.mktemp("trained") / "work")
    images, labels = letters(400)
    write_idx(place.path / "images", images)
    write_idx(place.path / "labels", labels.astype(np.uint8))
    words = "dataset=idx dataset.train_images=images dataset.train_labels=labels epochs=8"
    done = place.train(*words.split(), "hydra.run.dir=run", HOME=str(place.path))
    assert done.returncode == 0, done.stderr
    return place.path / "run"


@pytest.fixture
def predict(workplace, trained):
    def predict(*words, status=0, run=trained):
        done = workplace.run(PREDICT, str(run), *map(str, words))
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr if status else done.stdout

    return predict


def write_csv(path, images, labels=None, header=True):
    names = [*([] if labels is None else ["label"]), *(f"pixel{n}" for n in range(SIDE**2))]
    rows = images.reshape(len(images), -1).tolist()
    if labels is not None:
        rows = [[label, *row] for label, row in zip(labels.tolist(), rows, strict=True)]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([*([names] if header else []), *rows])


def kaggle(labels):
    return "ImageId,Label\n" + "".join(f"{n},{label}\n" for n, label in enumerate(labels, 1))


def picture(path, pixels, **settings):
    Image.fromarray(pixels).save(path, **settings)
    return path


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("header", [False, True])
def test_a_csv_file_gives_the_labels_in_kaggles_form(workplace, predict, header, labelled):
    write_csv(workplace.path / "test.csv", IMAGES, LABELS if labelled else None, header)
    told = predict("test.csv", "--output", "label.csv")
    assert (workplace.path / "label.csv").read_bytes() == kaggle(LABELS).encode()
    assert ("accuracy 100.00\u00a0%: 60 of 60 samples" in told) == labelled
    assert told.splitlines()[-1] == "label.csv"


@pytest.mark.parametrize("compressed", [False, True])
def test_an_idx_file_gives_the_labels_and_with_true_ones_the_accuracy(
    workplace, predict, compressed
):
    write_idx(workplace.path / "images", IMAGES, compressed)
    truth = LABELS.astype(np.uint8)
    truth[:3] = (truth[:3] + 1) % 3
    write_idx(workplace.path / "labels", truth, compressed)
    told = predict("images", "--labels", "labels", "--output", "label.csv")
    assert (workplace.path / "label.csv").read_text() == kaggle(LABELS)
    assert "accuracy 95.00\u00a0%: 57 of 60 samples" in told


@pytest.mark.parametrize("kind", ["npy", "csv", "headerless"])
def test_true_classes_may_be_in_an_array_or_in_a_file_of_kaggles(workplace, predict, kind):
    np.save(workplace.path / "images.npy", IMAGES)
    path = workplace.path / f"labels.{kind}"
    if kind == "npy":
        np.save(path, LABELS)
    else:
        path.write_text(kaggle(LABELS).split("\n", kind == "headerless")[-1])
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
def test_an_array_may_have_any_form_that_means_the_same(workplace, predict, array):
    np.save(workplace.path / "images.npy", array)
    predict("images.npy", "--output", "label.csv")
    assert (workplace.path / "label.csv").read_text() == kaggle(LABELS)


def test_shares_are_scaled_and_it_is_said(workplace, predict):
    np.save(workplace.path / "images.npy", IMAGES / 255)
    told = predict("images.npy", "--output", "label.csv")
    assert "values from 0 to 1 were multiplied by 255" in told
    assert (workplace.path / "label.csv").read_text() == kaggle(LABELS)


@pytest.mark.parametrize("form", ["bytes", "csv"])
def test_black_and_white_is_scaled_too(workplace, predict, form):
    letters = (IMAGES > 100).astype(np.uint8)
    if form == "csv":
        write_csv(workplace.path / "letters.csv", letters)
    else:
        np.save(workplace.path / "letters.npy", letters)
    (path,) = workplace.path.glob("letters.*")
    assert "multiplied by 255" in predict(path, "--output", "label.csv")
    assert (workplace.path / "label.csv").read_text() == kaggle(LABELS)


def test_a_csv_file_is_read_as_the_run_has_read_its_own(workplace, predict):
    """The label is in the last column, without a header, as dataset.label=last specifies."""
    images, labels = letters(200)
    rows = np.column_stack([images.reshape(200, -1), labels])
    np.savetxt(workplace.path / "train.csv", rows, "%d", ",")
    words = "dataset=csv dataset.train=train.csv dataset.label=last epochs=9 hydra.run.dir=last"
    assert workplace.train(*words.split()).returncode == 0
    rows = np.column_stack([IMAGES.reshape(60, -1), LABELS])
    np.savetxt(workplace.path / "test.csv", rows, "%d", ",")
    assert "60 of 60" in predict("test.csv", run="last")


def test_one_image_may_stand_alone_in_an_array(workplace, predict):
    np.save(workplace.path / "image.npy", IMAGES[4])
    assert predict("image.npy").startswith(f"1: {LABELS[4]} (")


def test_probabilities_stand_beside_the_labels_if_asked_for(workplace, predict):
    np.save(workplace.path / "images.npy", IMAGES)
    predict("images.npy", "--output", "label.csv", "--probabilities")
    header, *rows = csv.reader(io.StringIO((workplace.path / "label.csv").read_text()))
    assert header == ["ImageId", "Label", "0", "1", "2"]
    shares = np.array([row[2:] for row in rows], float)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    assert shares.argmax(axis=1).tolist() == LABELS.tolist()


def test_predictions_are_those_that_the_run_made_itself(workplace):
    """predict.py computes for the test set the probabilities that training has stored."""
    write_idx(workplace.path / "images", IMAGES)
    write_idx(workplace.path / "labels", LABELS.astype(np.uint8))
    parts = [(part, what) for part in ("train", "test") for what in ("images", "labels")]
    files = [f"dataset.{part}_{what}={what}" for part, what in parts]
    choices = [
        "model=cnn",
        "loss=mse",
        "dataset.normalize=standard",
        "restore_best=true",
        "dropout=0.2",
    ]
    done = workplace.train("dataset=idx", *files, *choices, "epochs=3", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    trained = Predictor.from_run(workplace.path / "run")
    content = array_files.read_samples(workplace.path / "images", trained.input_spec)
    kept = SavedRun.read(workplace.path / "run").predictions
    np.testing.assert_array_equal(trained.predict_proba(content.samples), kept.probabilities)


def test_images_of_any_size_and_polarity_are_read_and_what_was_done_is_said(workplace, predict):
    folder = workplace.path / "scans"
    folder.mkdir()
    large = [np.kron(image, np.ones((9, 9), np.uint8)) for image in IMAGES]
    picture(folder / "10.png", 255 - large[0])
    picture(folder / "9.jpg", large[1], quality=95)
    picture(folder / "2.png", IMAGES[2])
    wide = np.zeros((108, 200), np.uint8)
    wide[:, 46:154] = large[3]
    picture(folder / "30.PNG", np.stack([wide] * 3, axis=-1))
    framed = "framed like the training images"
    notes = [
        f"scans/9.jpg: 108 x 108 resized to 12 x 12, contrast stretched, {framed}",
        f"scans/10.png: 108 x 108 resized to 12 x 12, inverted, {framed}",
        f"scans/30.PNG: 200 x 108 resized to 12 x 12, {framed}",
    ]
    told = predict("scans", "--output", "label.csv").splitlines()
    assert told[:3] == notes
    names = [line.split(":")[0] for line in told[3:7]]
    assert names == ["scans/2.png", "scans/9.jpg", "scans/10.png", "scans/30.PNG"]
    rows = list(csv.reader((workplace.path / "label.csv").read_text().splitlines()))
    assert [row[0] for row in rows] == ["File", *names]
    assert [int(row[1]) for row in rows[1:4]] == [LABELS[2], LABELS[1], LABELS[0]]


def test_inverting_can_be_asked_for_and_forbidden(workplace, predict):
    picture(workplace.path / "a.png", 255 - IMAGES[0])
    assert "inverted" in predict("a.png")
    assert "inverted" not in predict("a.png", "--invert", "no")
    picture(workplace.path / "a.png", IMAGES[0])
    assert "inverted" not in predict("a.png")
    assert "inverted" in predict("a.png", "--invert", "yes")


@pytest.mark.parametrize("ink", [0, 255])
def test_what_is_transparent_is_background(workplace, predict, ink):
    pixels = np.full((SIDE, SIDE, 4), ink, np.uint8)
    pixels[..., 3] = np.where(IMAGES[5] > 100, 255, 0)
    picture(workplace.path / "clear.png", pixels)
    assert f"clear.png: {LABELS[5]} (" in predict("clear.png")


def test_sixteen_bits_and_a_turned_photograph_are_understood(workplace, predict):
    picture(workplace.path / "deep.png", IMAGES[6].astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    large = np.kron(np.rot90(IMAGES[7]), np.ones((8, 8), np.uint8))
    picture(workplace.path / "turned.jpg", large, exif=exif, quality=95)
    told = predict("deep.png", "turned.jpg")
    assert f"deep.png: {LABELS[6]} (" in told
    assert f"turned.jpg: {LABELS[7]} (" in told


def test_the_picture_shows_images_from_a_start_and_marks_wrong_ones(workplace, predict):
    np.save(workplace.path / "images.npy", IMAGES)
    truth = LABELS.copy()
    truth[20] = (truth[20] + 1) % 3
    np.save(workplace.path / "labels.npy", truth)
    words = ("images.npy", "--labels", "labels.npy", "--figure", "seen.png", "--overwrite")
    orange, sizes = [], []
    for start in (1, 20, 22, 60):
        predict(*words, "--first", start)
        with Image.open(workplace.path / "seen.png") as image:
            pixels = np.asarray(image.convert("RGB")).astype(int)
        sizes.append(pixels.shape[0])
        orange.append(int(((pixels[..., 0] - pixels[..., 2]) > 80).sum()))
    assert min(orange[:2]) > 200
    assert orange[2:] == [0, 0]
    assert sizes[0] > sizes[1] > sizes[3]


def test_an_existing_file_is_written_over_only_with_force(workplace, predict):
    np.save(workplace.path / "images.npy", IMAGES)
    (workplace.path / "label.csv").write_text("mine")
    told = predict("images.npy", "--output", "label.csv", status=2)
    assert told == "label.csv already exists; --overwrite replaces it.\n"
    assert (workplace.path / "label.csv").read_text() == "mine"
    predict("images.npy", "--output", "label.csv", "--overwrite")
    assert (workplace.path / "label.csv").read_text() == kaggle(LABELS)


def test_a_file_of_the_run_is_never_written_over(workplace, predict, trained):
    shutil.copytree(trained, workplace.path / "run")
    np.save(workplace.path / "images.npy", IMAGES)
    for name in ("checkpoints/last.safetensors", "config.yaml"):
        told = predict("images.npy", "--output", f"run/{name}", "--overwrite", status=2, run="run")
        assert told == f"run/{name} is an input or part of the run; name another file.\n"
    predict("images.npy", "--output", "run/label.csv", run="run")


def test_a_link_stays_and_what_it_leads_to_is_written(workplace, predict):
    np.save(workplace.path / "images.npy", IMAGES)
    (workplace.path / "real.csv").write_text("old")
    (workplace.path / "link.csv").symlink_to("real.csv")
    predict("images.npy", "--output", "link.csv", "--overwrite")
    assert (workplace.path / "link.csv").is_symlink()
    assert (workplace.path / "real.csv").read_text() == kaggle(LABELS)


def test_where_the_picture_cannot_be_written_there_are_no_labels_either(workplace, monkeypatch):
    first, second = workplace.path / "label.csv", workplace.path / "gone/seen.png"
    with (
        pytest.raises(
            UserError, match=r"gone/seen.png: nothing can be written there: No such file"
        ),
        staged_files([(first, b"labels"), (second, b"picture")]),
    ):
        pytest.fail("everything was written")
    assert list(workplace.path.iterdir()) == []


def test_a_reader_who_leaves_early_and_an_old_terminal_get_their_files(workplace, trained):
    np.save(workplace.path / "images.npy", IMAGES)
    for number, words in enumerate(({"PYTHONIOENCODING": "ascii"}, {"PYTHONUNBUFFERED": "1"})):
        name = f"{number}.csv"
        process = workplace.start(PREDICT, str(trained), "images.npy", "--output", name, **words)
        if number:
            process.stdout.close()
            process.stdout = None
        _, told = process.communicate(timeout=60)
        assert told == ""
        assert (workplace.path / name).read_text() == kaggle(LABELS)


def test_the_weights_of_a_run_that_is_not_finished_are_said_to_be_so(workplace, trained, predict):
    shutil.copytree(trained, workplace.path / "run")
    (workplace.path / "run/summary.json").unlink()
    np.save(workplace.path / "images.npy", IMAGES)
    told = predict("images.npy", run="run")
    assert told.startswith("run is not finished: these are its weights after epoch 8\n")


def files_of_a_stranger(folder):
    """Write one file of every kind that must be refused."""
    (folder / "empty.csv").touch()
    (folder / "empty.png").touch()
    (folder / "fake.png").write_text("no image")
    (folder / "cut.png").write_bytes(picture(folder / "a.png", IMAGES[0]).read_bytes()[:90])
    (folder / "fake.npy").write_text("no array")
    (folder / "nothing").mkdir()
    (folder / "words.csv").write_text("what,ever\nis,here\n")
    (folder / "cut.idx").write_bytes(b"\0\0\x08\x03\0\0\0\x09")
    np.save(folder / "objects.npy", np.array([{}, {}], object), allow_pickle=True)
    np.save(folder / "small.npy", np.zeros((2, 8, 8), np.uint8))
    np.save(folder / "nan.npy", np.full((2, SIDE, SIDE), np.nan))
    np.save(folder / "huge.npy", np.full((2, SIDE, SIDE), 5000.0))
    np.save(folder / "below.npy", np.linspace(-1, 0, 2 * SIDE**2).reshape(2, SIDE, SIDE))
    np.save(folder / "complex.npy", np.zeros((2, SIDE, SIDE), complex))
    header = b"{" * 118
    (folder / "junk.npy").write_bytes(b"\x93NUMPY\x01\x00" + bytes([len(header), 0]) + header)
    (folder / "order.csv").write_text(kaggle(LABELS).replace("\n7,", "\n70,"))
    (folder / "dangling").symlink_to("nowhere")
    np.save(folder / "none.npy", np.zeros((0, SIDE, SIDE)))
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


@pytest.mark.sampled(20)
@pytest.mark.parametrize(
    ("words", "told"),
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
def test_a_mistake_costs_one_sentence_and_leaves_nothing(workplace, predict, words, told):
    files_of_a_stranger(workplace.path)
    with unchanged(workplace.path):
        answer = predict(*words.split(), status=2)
    assert told in answer
    assert answer.count("\n") == 1 or "usage:" in answer


def test_a_model_that_takes_no_images_says_so(workplace, predict):
    chance = np.random.default_rng(0)
    write_idx(workplace.path / "x", chance.random((90, 5), np.float32))
    write_idx(workplace.path / "y", (np.arange(90) % 3).astype(np.uint8))
    files = ["dataset.train_images=x", "dataset.train_labels=y"]
    workplace.train("dataset=idx", *files, "epochs=1", "hydra.run.dir=run")
    picture(workplace.path / "a.png", IMAGES[0])
    told = predict("a.png", status=2, run="run")
    assert told == "a.png: the model takes samples of 5, which are not images.\n"
    told = predict("x", "--figure", "seen.png", status=2, run="run")
    assert told == "--figure: the inputs of this model are not images.\n"
    assert "90 samples: " in predict("x", run="run")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (shutil.rmtree, "is not a run directory: it has no config.yaml."),
        (lambda run: shutil.rmtree(run / "checkpoints"), "there is no checkpoint in"),
        (lambda run: spoiled(run), "last.safetensors is damaged."),
        (lambda run: replaced(run, "width: 128", "width: 64"), "config.yaml and checkpoint differ"),
        (lambda run: replaced(run, "threads: 1", "threads: many"), "threads must be a whole"),
        (lambda run: replaced(run, "nn.models.MLP", "os.system"), "os is not trusted to run"),
        (lambda run: replaced(run, "nn.models.MLP", "nn.runs.runner.run"), "a subclass of Model."),
    ],
)
def test_a_run_that_cannot_be_used_is_refused(workplace, predict, trained, damage, told):
    shutil.copytree(trained, workplace.path / "run")
    damage(workplace.path / "run")
    np.save(workplace.path / "images.npy", IMAGES)
    assert told in predict("images.npy", "--output", "label.csv", status=2, run="run")
    assert not (workplace.path / "label.csv").exists()


def spoiled(run):
    path = run / "checkpoints/last.safetensors"
    path.write_bytes(path.read_bytes()[:-8] + bytes(8))


def replaced(run, old, new):
    path = run / "config.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_a_checkpoint_of_an_earlier_version_is_told_from_a_damaged_one(workplace, trained):
    from nn.runs import checkpoint

    run = workplace.path / "run"
    shutil.copytree(trained, run)
    moment = checkpoint.load_best_or_last(run)
    del moment.metadata["input_spec"]
    checkpoint.save(run / "checkpoints/last.safetensors", moment)
    with pytest.raises(
        UserError, match="earlier version and does not describe the inputs of its network"
    ):
        Predictor.from_run(run)


def test_a_model_of_ones_own_needs_trust(workplace, predict, monkeypatch):
    (workplace.path / "mine.py").write_text(
        "from nn.layers import Dense, Flatten\n"
        "class Own:\n"
        "    def build_layers(self, num_classes, rngs):\n"
        "        return [Flatten(), Dense(num_classes)]\n"
    )
    (workplace.path / "model").mkdir()
    (workplace.path / "model/own.yaml").write_text("_target_: mine.Own\n")
    monkeypatch.setenv("PYTHONPATH", str(workplace.path))
    words = ("--config-dir", ".", "model=own", "epochs=1", "hydra.run.dir=run")
    assert workplace.train(*words).returncode == 0
    np.save(workplace.path / "x.npy", np.zeros((2, 8, 8), np.uint8))
    told = predict("x.npy", status=2, run="run")
    assert "mine is not trusted to run; --trust mine allows it." in told
    assert predict("x.npy", "--trust", "mine", run="run").startswith("1: ")


def test_colour_images_are_read_in_colour(tmp_path):
    inputs = replace(INPUT_SPEC, shape=(3, 6, 6))
    pixels = np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8)
    pixels[[0, -1]] = pixels[:, [0, -1]] = 0
    read = read_images([picture(tmp_path / "a.png", pixels)], inputs, "auto")
    np.testing.assert_array_equal(read.samples[0], np.moveaxis(pixels, -1, 0))
    assert not read.notes


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_damaged_file_is_a_bug(trained, tmp_path_factory, data):
    """A file with arbitrary content is read or refused in one sentence."""
    place = tmp_path_factory.mktemp("damaged")
    kind = data.draw(st.sampled_from(["png", "jpg", "npy", "idx", "csv"]))
    path = place / f"file.{kind}"
    match kind:
        case "png" | "jpg":
            picture(path, IMAGES[0])
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
    inputs = Predictor.from_run(trained).input_spec
    try:
        if reader:
            reader([path], inputs, "auto")
        else:
            array_files.read_samples(path, inputs)
    except UserError as mistake:
        assert str(mistake).endswith((".", "...")), str(mistake)


@pytest.mark.parametrize("kind", ["gif", "tif", "tiff", "webp", "bmp"])
def test_images_may_be_of_any_usual_format(workplace, predict, kind):
    settings = {"lossless": True} if kind == "webp" else {}
    (workplace.path / "scans").mkdir()
    picture(workplace.path / f"scans/a.{kind}", IMAGES[5], **settings)
    (workplace.path / "without suffix").write_bytes(
        (workplace.path / f"scans/a.{kind}").read_bytes()
    )
    assert f"scans/a.{kind}: {LABELS[5]} (" in predict("scans")
    assert f"without suffix: {LABELS[5]} (" in predict("without suffix")


@pytest.mark.parametrize("kind", ["gif", "tiff", "webp", "png"])
def test_of_an_animation_the_first_frame_is_read_and_it_is_said(workplace, predict, kind):
    settings = {"lossless": True} if kind == "webp" else {}
    first, second = (Image.fromarray(IMAGES[number]) for number in (5, 6))
    first.save(workplace.path / f"a.{kind}", save_all=True, append_images=[second], **settings)
    told = predict(f"a.{kind}")
    assert f"a.{kind}: only the first frame is read\n" in told
    assert f"a.{kind}: {LABELS[5]} (" in told


@pytest.mark.parametrize("top", [1, 255, 65535, 4e9])
def test_floating_point_images_are_read_whatever_their_range(workplace, predict, top):
    levels = (IMAGES[6] / 255 * top).astype(np.float32)
    Image.fromarray(levels).save(workplace.path / "deep.tiff")
    assert f"deep.tiff: {LABELS[6]} (" in predict("deep.tiff")


def test_compressed_and_unusual_images_are_read(workplace, predict):
    Image.fromarray(IMAGES[7]).save(workplace.path / "a.tiff", compression="tiff_lzw")
    packed = gzip.compress((workplace.path / "a.tiff").read_bytes())
    (workplace.path / "a.tiff.gz").write_bytes(packed)
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
        image.save(workplace.path / f"{mode}.tiff")
    for name in ("a.tiff.gz", "CMYK.tiff", "LAB.tiff", "1.tiff", "P.tiff", "RGBA.tiff"):
        assert f"{name}: {LABELS[7]} (" in predict(name)


def test_an_image_with_too_many_pixels_is_refused_unread(workplace, predict):
    header = b"BM" + bytes(8) + (54).to_bytes(4, "little") + (40).to_bytes(4, "little")
    size = (60_000).to_bytes(4, "little") * 2
    (workplace.path / "bomb.bmp").write_bytes(header + size + b"\1\0\x08\0" + bytes(200))
    told = predict("bomb.bmp", status=2)
    assert told == "bomb.bmp has too many pixels to be decoded safely.\n"


def test_an_archive_of_arrays_is_predicted(workplace, predict):
    np.savez(workplace.path / "letters.npz", x_train=IMAGES[:5], x_test=IMAGES, y_test=LABELS)
    told = predict("letters.npz", "--output", "label.csv")
    assert told.startswith("letters.npz: read x_test and y_test of its 3 arrays\n")
    assert "60 of 60" in told
    assert (workplace.path / "label.csv").read_text() == kaggle(LABELS)


def test_labels_of_images_stand_beside_their_file_names(workplace, predict):
    names = ["2.png", "10.png", "a,b.png", 'quote".png', "two\nlines.png", "cr\rhere.png", "ä.png"]
    folder = workplace.path / "scans"
    folder.mkdir()
    for number, name in enumerate(names):
        picture(folder / name, IMAGES[number])
    strange = os.fsencode(folder) + b"/\xff.png"
    Path(os.fsdecode(strange)).write_bytes((folder / "2.png").read_bytes())
    predict("scans", "--output", "label.csv", "--figure", "seen.png", "--probabilities")
    with (workplace.path / "label.csv").open(encoding="utf-8", newline="") as file:
        header, *found = csv.reader(file)
    assert header == ["File", "Label", "0", "1", "2"]
    expected = {f"scans/{name}": str(LABELS[number]) for number, name in enumerate(names)}
    expected["scans/\\xff.png"] = str(LABELS[0])
    assert {name: label for name, label, *_ in found} == expected
    predict("scans/2.png", "--output", "one.csv")
    assert (workplace.path / "one.csv").read_text() == f"File,Label\nscans/2.png,{LABELS[0]}\n"
