"""Folders of recordings, their splits, and a network that is trained and searched on them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from evaluated_models import chosen
from event_files import (
    nmnist_bytes,
    packet,
    random_events,
    write_aedat2,
    write_aedat3,
    write_class_folders,
    write_gesture,
)

from spikefront.evaluators.accuracy import accuracy
from spikefront.evaluators.data import ImageData, Preprocessing, check_disjoint, load_splits
from spikefront.evaluators.data.events import EventRecordings, Framing
from spikefront.evaluators.data.events.layout import find_recordings
from spikefront.evaluators.data.events.recording import Recording
from spikefront.evaluators.evaluation import Request, State
from spikefront.evaluators.evaluator import EvaluationSettings
from spikefront.evaluators.packing import pack_member, verify
from spikefront.evaluators.preparation import TrainedModel, prepare
from spikefront.evaluators.training.augment import augment
from spikefront.evaluators.training.job import TrainingJob
from spikefront.spaces import BadInput
from spikefront.spaces.errors import CorruptFile
from spikefront.svtmodels import static_costs
from spikefront.svtmodels.checkpoint import load_checkpoint

SMALL = {"name": "events", "calibration": 4, "search": 6, "steps": 2}


def write_cifar(folder: Path, count: int = 20) -> Path:
    """CIFAR10-DVS's layout with two classes."""
    for label, name in enumerate(("cat", "airplane")):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            events = random_events(40, (128, 128), 100 * label + index)
            write_aedat2(folder / name / f"cifar10_{name}_{index}.aedat", events)
    (folder / ".DS_Store").touch()
    (folder / "cat" / "notes.txt").touch()
    return folder


def write_nmnist(folder: Path) -> Path:
    for part, count in (("Train", 9), ("Test", 3)):
        for digit in "01":
            (folder / part / digit).mkdir(parents=True)
            for index in range(count):
                events = random_events(30, (34, 34), 50 * int(digit) + index + 7 * count)
                (folder / part / digit / f"{index:05}.bin").write_bytes(nmnist_bytes(events))
    return folder


def test_cifar10_dvs_is_cut_by_class_into_disjoint_splits(tmp_path: Path) -> None:
    settings = {**SMALL, "path": str(write_cifar(tmp_path / "dvs")), "downscale": 4}
    splits = load_splits(settings)
    assert splits.search.classes == ("airplane", "cat")
    sizes = {name: len(data) for name, data in splits.named().items()}
    assert sizes == {"train": 26, "calibration": 4, "search": 6, "test": 4}
    assert check_disjoint(splits, strict=True).disjoint
    for data in splits.named().values():
        assert data.images.shape[1:] == (2, 2, 32, 32)
        assert data.images.dtype == np.uint8
        assert np.bincount(data.labels).tolist() == [len(data) // 2] * 2
        assert (data.images.sum((1, 2, 3, 4)) == 40).all()
    assert "no published test data: test is a tenth, 4" in splits.declared
    assert "every recording is 2 frames by number" in splits.declared
    again, other = load_splits(settings), load_splits({**settings, "seed": 1})
    assert again.search.digest == splits.search.digest != other.search.digest


def test_nmnist_has_its_own_test_data_and_may_be_padded(tmp_path: Path) -> None:
    folder = write_nmnist(tmp_path / "N-MNIST")
    settings = {**SMALL, "path": str(folder), "height": 48, "width": 64}
    splits = load_splits(settings)
    sizes = [len(data) for data in splits.named().values()]
    assert sizes == [8, 4, 6, 6]
    assert splits.test.images.shape[1:] == (2, 2, 48, 64)
    assert not splits.test.images[..., 34:, :].any()
    assert not splits.test.images[..., 34:].any()
    assert "test is the published one (6)" in splits.declared


def test_a_foreign_checkpoint_sees_published_test_data_only(tmp_path: Path) -> None:
    folder = write_nmnist(tmp_path / "N-MNIST")
    settings = {**SMALL, "validation": str(folder), "calibration": 1, "search": 2}
    splits = load_splits(settings)
    assert [len(data) for data in splits.named().values()] == [0, 1, 2, 3]
    assert "the training set is unknown" in splits.declared
    assert "published test data of N-MNIST" in splits.declared
    # The same folder, named by itself: no published part of it is known.
    inner = load_splits({**settings, "validation": str(folder / "Test")})
    assert inner.search.digest == splits.search.digest


def test_gesture_trials_are_cut_out_by_their_times(tmp_path: Path) -> None:
    folder = write_gesture(tmp_path / "DvsGesture")
    found = find_recordings(folder)
    assert [trial.label for trial in found.train] == [0, 10, 3] * 2
    assert len(found.test) == 3
    assert found.classes[10] == "other_gestures"
    settings = {**SMALL, "path": str(folder), "calibration": 1, "search": 2}
    splits = load_splits(settings)
    assert [len(data) for data in splits.named().values()] == [3, 1, 2, 3]
    events = random_events(400, (128, 128), 2, start=5000)  # the test file
    start, end = events["t"][10], events["t"][120]
    expected = ((events["t"] >= start) & (events["t"] < end)).sum()
    assert splits.test.images[0].sum() == expected


def test_what_is_not_asked_for_is_not_read(tmp_path: Path) -> None:
    folder = write_nmnist(tmp_path / "N-MNIST")
    settings = {**SMALL, "path": str(folder)}
    whole = load_splits(settings)
    for file in (folder / "Test").rglob("*.bin"):
        file.write_bytes(b"no")
    # One of them is opened, for the shape of an empty split.
    first = folder / "Test" / "0" / "00000.bin"
    first.write_bytes(nmnist_bytes(random_events(3, (34, 34))))
    found = load_splits(settings, with_train=False, with_test=False)
    assert len(found.train) == len(found.test) == 0
    assert found.search.digest == whole.search.digest
    assert found.test.images.shape == (0, 2, 2, 34, 34)
    with pytest.raises(CorruptFile, match=r"Test.*\.bin: ends within an event, at byte 2"):
        load_splits(settings, with_train=False)


def test_counts_above_255_widen_and_those_above_65535_are_refused(tmp_path: Path) -> None:
    def recording(name: str, count: int) -> Recording:
        zeros = np.zeros(count, np.int64)
        np.savez(tmp_path / name, t=np.arange(count), x=zeros, y=zeros, p=zeros)
        return Recording(tmp_path / name, 0)

    parts = (recording("a.npz", 255), recording("b.npz", 256), recording("c.npz", 65536))
    source = EventRecordings(parts, ("only",), "made", Framing(1, size=(2, 2)))
    assert source.load([0]).images.dtype == np.uint8
    both = source.load([1, 0, 0]).images
    assert both.dtype == np.uint16
    assert both[:, 0, 0, 0, 0].tolist() == [256, 255, 255]
    with pytest.raises(BadInput, match=r"c\.npz: 65536 events in one pixel of one frame"):
        source.load([0, 2])
    with pytest.raises(BadInput, match=r"recordings 0\.\.3 of 3"):
        source.load([0, 3])


def remove(path: str) -> Callable[[Path], None]:
    return lambda folder: (folder / path).unlink()


def write(path: str, text: str | bytes) -> Callable[[Path], None]:
    content = text if isinstance(text, bytes) else text.encode()
    return lambda folder: void((folder / path).write_bytes(content))


def void(_: object) -> None:
    return None


LABELS = "class,startTime_usec,endTime_usec\n"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (remove("trials_to_test.txt"), "trials_to_test.txt: cannot be read"),
        (remove("user01_led.aedat"), "user01_led.aedat: no such file, but a list"),
        (remove("user24_labels.csv"), "user24_labels.csv: cannot be read"),
        (write("trials_to_test.txt", "\n"), "names no files"),
        (write("trials_to_test.txt", b"\xff\xfe"), "no text"),
        (write("trials_to_test.txt", "../user24.aedat\n"), "'../user24.aedat' is no name"),
        (write("trials_to_test.txt", "user24.npz\n"), "'user24.npz' is no name"),
        (write("trials_to_test.txt", "user01_led.aedat\n"), "user01_led.aedat named twice"),
        (write("user24_labels.csv", ""), "it must be 'class,startTime_usec,endTime_usec'"),
        (write("user24_labels.csv", LABELS + "1,5\n"), "line 2: '1,5'; it must be three"),
        (write("user24_labels.csv", LABELS + "1,5,6\nx,5,6\n"), "line 3"),
        (write("user24_labels.csv", LABELS + "12,5,6\n"), "class 12 from 5 to 6 us"),
        (write("user24_labels.csv", LABELS + "0,5,6\n"), "class 0"),
        (write("user24_labels.csv", LABELS + "1,6,6\n"), "an end after the start"),
        (write("user24_labels.csv", LABELS + "1,1,2\n"), "no events from 1 to 2 us"),
    ],
)
def test_damaged_gesture_folders(tmp_path: Path, damage: Callable[[Path], None], said: str) -> None:
    folder = write_gesture(tmp_path / "DvsGesture")
    damage(folder)
    with pytest.raises(BadInput) as caught:
        load_splits({**SMALL, "path": str(folder), "calibration": 1, "search": 2})
    assert said in str(caught.value)


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    def refuse(said: str, folder: Path = tmp_path) -> None:
        with pytest.raises(BadInput) as caught:
            find_recordings(folder)
        assert said in str(caught.value)

    refuse("no such folder", tmp_path / "missing")
    refuse("a folder per class")
    (tmp_path / "cat").mkdir()
    refuse("cat: holds no recording (.aedat, .bin, .npz)")
    (tmp_path / "cat" / "a.bin").touch()
    (tmp_path / "cat" / "a.npz").touch()
    refuse("mixes .bin and .npz files")
    for name in ("train/a", "test/b"):
        (tmp_path / "split" / name).mkdir(parents=True)
        (tmp_path / "split" / name / "0.bin").touch()
    refuse("the classes of train are a, those of test are b", tmp_path / "split")


def test_files_that_are_not_what_their_ending_says(tmp_path: Path) -> None:
    path = tmp_path / "a.aedat"
    source = EventRecordings((Recording(path, 0),), ("only",), "made", Framing(2))
    path.write_bytes(b"#!AER-DAT4.0\r\n")
    with pytest.raises(CorruptFile, match=r"must be AEDAT 2\.0 or AEDAT 3\.1"):
        source.load([0])
    write_aedat3(path, [packet(random_events(9, (128, 128)))])
    assert source.load([0]).images.sum() == 9


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"step": 3}, "unknown data setting 'step'. Did you mean 'steps'?"),
        ({"steps": "3"}, "'steps' is '3'; give a whole number"),
        ({"seed": True}, "'seed' is True"),
        ({"split_by": 3}, "'split_by' is 3; give a string"),
        ({"split_by": "count"}, "unknown split_by 'count'"),
        ({"height": 40}, "give both or none"),
        ({"validation": "x"}, "path and validation: give path"),
        ({"path": None}, "no folder: give path"),
        ({"search": 1000}, "parts of"),
        ({"height": 20, "width": 40}, "the sensor of"),
    ],
)
def test_wrong_settings(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    folder = write_nmnist(tmp_path / "N-MNIST")
    with pytest.raises(BadInput) as caught:
        load_splits({**SMALL, "path": str(folder), **change})
    assert said in str(caught.value)


def frames_data(dtype: Any = np.uint16) -> ImageData:
    counts = np.random.default_rng(0).integers(0, 250, (3, 4, 2, 5, 6)).astype(dtype)
    return ImageData(counts, np.zeros(3, np.int64), ("a",), "made")


def test_frames_pass_as_image_data() -> None:
    data = frames_data()
    assert data.of_events
    assert len(data.take([2, 0])) == 2
    assert len(set(data.image_hashes())) == 3
    content = b"(3, 4, 2, 5, 6)" + data.images.astype("<u2").tobytes() + bytes(3 * 8)
    assert data.digest == hashlib.sha256(content).hexdigest()
    for wrong in (np.int32, np.float32, ">u2"):
        with pytest.raises(BadInput, match=r"\[N, T, 2, H, W\]"):
            frames_data(wrong)
    with pytest.raises(BadInput, match=r"\[N, T, 2, H, W\]"):
        ImageData(np.zeros((1, 4, 3, 5, 6), np.uint8), np.zeros(1, np.int64), ("a",), "made")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_networks_are_fed_counts(dtype: type) -> None:
    data = frames_data(dtype)
    preprocessing = Preprocessing.measure(data)
    assert preprocessing == Preprocessing.preset("events")
    assert Preprocessing.from_dict(preprocessing.to_dict()) == preprocessing
    fed = preprocessing.apply(data.images)
    assert fed.dtype == torch.float32
    assert np.array_equal(fed.numpy(), data.images)
    with pytest.raises(BadInput, match=r"\[N, 3, H, W\]"):
        Preprocessing.preset("cifar10").apply(data.images)
    for scale in (0, -1, math.inf, "1"):
        with pytest.raises(BadInput, match="scale"):
            Preprocessing.from_dict({"mean": [0.0], "std": [1.0], "scale": scale})


def test_all_frames_of_a_recording_move_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    frame = torch.rand(6, 1, 2, 8, 8, generator=generator)
    moved = augment(frame.repeat(1, 3, 1, 1, 1), 2, True, generator)
    assert moved.shape == (6, 3, 2, 8, 8)
    assert torch.equal(moved[:, 0], moved[:, 1])
    assert torch.equal(moved[:, 0], moved[:, 2])
    assert not torch.equal(moved[:, :1], frame)


def test_a_network_is_trained_evaluated_and_searched_on_events(tmp_path: Path) -> None:
    folder = write_class_folders(tmp_path / "events", ("left", "right"), 12, (32, 32))
    config = {
        "network": {
            "architecture": "spikformer_cifar10dvs",
            "arguments": {"embed_dims": 64, "num_heads": 2, "depths": 1, "mlp_ratios": 2},
        },
        "data": {**SMALL, "path": str(folder), "height": 32, "width": 32, "steps": 3},
        "recipe": {
            "epochs": 1,
            "batch_size": 8,
            "warmup_epochs": 0,
            "crop_padding": 1,
            "flip": True,
        },
        "output": str(tmp_path / "dvs.safetensors"),
    }
    card = TrainingJob.from_dict(config).run()
    assert math.isfinite(card["curve"][0][1])
    assert card["preprocessing"] == Preprocessing.preset("events").to_dict()
    network = load_checkpoint(config["output"])
    # Built for the data: 3 steps of 2x32x32, two classes.
    assert (network.input_shape, network.classes) == ((3, 2, 32, 32), 2)
    splits = load_splits(config["data"])
    events = Preprocessing.preset("events")
    assert card["accuracy_test"] == accuracy(network, splits.test, events)
    model = TrainedModel.load(config["output"], None, {})
    settings = EvaluationSettings(batch_size=4, gate_images=4)
    blueprint, notes = prepare(model, card["data"], settings, 0)
    assert notes[1] == "The network was trained without the calibration and search images."
    assert blueprint.search_correct.mean() == card["accuracy_search"]
    small = chosen(network, channel=0.5, weight=8, time=2)
    done = blueprint.build()(Request(small))
    assert done.state is State.COMPLETE
    # The first layer is charged for the events that there are, not as on static images.
    assert static_costs(network, small).first_macs == 0 < done.measures["synops"]
    record = {**done.measures, "data": card["data"], "accuracy_test": None}
    pack_member(blueprint, small, tmp_path / "packed", record)
    proof = verify(tmp_path / "packed")
    assert (proof.passed, proof.n_test) == (True, 2)


def test_data_and_network_of_unlike_steps_are_refused(tmp_path: Path) -> None:
    folder = write_class_folders(tmp_path / "events", ("left", "right"), 12, (16, 16))
    data = {**SMALL, "path": str(folder), "height": 16, "width": 16}
    images = {"architecture": "spikformer_cifar10", "arguments": {"embed_dims": 64, "num_heads": 2}}
    job = {"network": images, "data": data, "output": str(tmp_path / "a.safetensors")}
    with pytest.raises(BadInput, match=r"\(2, 2, 16, 16\); the network takes \(2, 16, 16\)"):
        TrainingJob.from_dict(job).run()
    job["network"] = {"architecture": "spikformer_cifar10dvs", "arguments": {"T": 1}}
    with pytest.raises(BadInput, match=r"\(2, 2, 16, 16\); the network takes \(1, 2, 16, 16\)"):
        TrainingJob.from_dict(job).run()
