import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from clips import write_clip, write_set

from ht_jax.data import describe, eval_batches, load, train_batches, video
from ht_jax.data.video import decode, preparing
from ht_jax.data.video.layouts import LAYOUTS

SIZE = video.Size(4, 12, 16)
CLASSES = ["basketball/v_shooting", "biking/v_biking", "walking/v_walk"]
GOOD = [
    f"{name}_0{g}/{name.split('/')[1]}_0{g}_0{c}.mpg"
    for name in CLASSES
    for g in (1, 2, 3)
    for c in (1, 2)
]
CORRUPT = "biking/v_biking_02/v_biking_02_09.mpg"
SHORT = "walking/v_walk_03/v_walk_03_09.mpg"
MISNAMED = "walking/v_walk_03/film.mpg"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = write_set(tmp_path_factory.mktemp("archive") / "UCF11_updated_mpg", GOOD)
    write_clip(folder / SHORT, num_frames=2)
    write_clip(folder / MISNAMED)
    (folder / CORRUPT).write_bytes(b"no video")
    (folder / "diving").mkdir()
    return folder.parent


@pytest.fixture(scope="module")
def prepared(source, tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("data")
    report = video.prepare(LAYOUTS["ucf11"], source, data_dir, size=SIZE, on_bad_clip="skip")
    return data_dir, report


@pytest.fixture(scope="module")
def data_dir(prepared):
    return prepared[0]


def test_report_counts_and_names_what_was_left_out(prepared):
    _, report = prepared
    assert (report.clips, report.documented) == (len(GOOD), 1600)
    text = "\n".join(report.problems)
    assert f"{SHORT} has 2 frames, but 4 are needed" in text
    assert f"{CORRUPT} cannot be decoded" in text
    assert f"{MISNAMED} is misnamed" in text
    assert "diving is a class without clips" in text
    assert "tennis_swing is a class without clips" in text
    assert len(report.problems) == 3 + 8


def test_classes_are_the_documented_ones(data_dir):
    names, shape = describe("ucf11", data_dir, num_frames=4)
    assert names == LAYOUTS["ucf11"].classes
    assert shape == (4, 12, 16, 3)


def test_records_are_the_clips_in_order(data_dir):
    data = load("ucf11", data_dir, num_frames=4, protocol="random_5fold")
    source = data.train.source
    names = LAYOUTS["ucf11"].classes
    assert [names[source[n]["label"]] for n in range(len(source))] == [
        g.split("/")[0] for g in GOOD
    ]
    np.testing.assert_allclose(source[0]["frames"].mean((1, 2, 3)), [10, 40, 70, 100], atol=4)


def test_protocols_read_the_same_records(data_dir):
    for protocol in ("random_5fold", "group_5fold", "holdout_80_20"):
        data = load("ucf11", data_dir, num_frames=4, protocol=protocol, fold=1)
        parts = (data.train, data.validation, data.test)
        assert sorted(np.concatenate([part.indices for part in parts])) == list(range(len(GOOD)))


def test_batches_hold_the_frames_asked_for(data_dir):
    data = load("ucf11", data_dir, num_frames=2)
    batches = train_batches(data, batch_size=8, seed=0)
    frames = np.concatenate([next(batches)["frames"] for _ in range(6)])
    assert frames.shape[1:] == (2, 12, 16, 3)
    brightness = frames.mean((2, 3, 4))
    assert np.all(brightness[:, 0] < brightness[:, 1])  # drawn, but in order
    assert len({tuple(pair) for pair in np.rint(brightness / 10)}) > 3
    fixed = next(eval_batches(data, "test", batch_size=2))["frames"].mean((2, 3, 4))
    np.testing.assert_allclose(fixed, [[40, 100]] * 2, atol=4)


def test_preparing_again_only_reports(source, prepared, monkeypatch):
    data_dir, report = prepared
    monkeypatch.setattr(preparing, "scan", lambda *args: pytest.fail("again"))
    assert video.prepare(LAYOUTS["ucf11"], source, data_dir, size=SIZE) == report
    assert not list((data_dir / "ucf11").glob("unfinished*"))


def test_by_default_a_problem_ends_the_work(source, tmp_path):
    with pytest.raises(video.BadData, match=r"misnamed.* \(and 8 more\).*--on-bad-clip skip"):
        video.prepare(LAYOUTS["ucf11"], source, tmp_path, size=SIZE)
    assert not list(tmp_path.rglob("*.npy"))


def test_bad_clip_ends_the_work_and_what_was_decoded_is_kept(tmp_path):
    layout = LAYOUTS["youtube_celebrities"]
    paths = [f"000{n}_01_001_person_{n:02d}.avi" for n in range(1, 5)]
    folder = write_set(tmp_path / "source", paths)
    names = {f"{n:04d}_01_001_person_{n:02d}.avi" for n in range(1, 48)}
    write_set(folder, names - set(paths), num_frames=4)
    (folder / "0047_01_001_person_47.avi").write_bytes(b"no")
    with pytest.raises(video.BadData, match=r"person_47\.avi cannot be decoded.*--on-bad-clip"):
        video.prepare(layout, folder, tmp_path / "data", size=SIZE, workers=1)
    decoded = len(list((tmp_path / "data").rglob("*.npy")))
    assert decoded == 46
    report = video.prepare(layout, folder, tmp_path / "data", size=SIZE, on_bad_clip="skip")
    assert report.clips == 46


def test_full_disk_is_told_before_anything_is_decoded(source, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(preparing.shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
    with pytest.raises(OSError, match=r"0 MiB free, but 20 clips need up to 0 MiB: free some"):
        video.prepare(LAYOUTS["ucf11"], source, tmp_path, size=SIZE, on_bad_clip="skip")
    assert not list(tmp_path.rglob("*.npy"))


def test_archive_is_unpacked(tmp_path):
    write_clip(tmp_path / "0187_02_020_al_gore.avi")
    (tmp_path / "in").mkdir()
    with tarfile.open(tmp_path / "in" / "ytcelebrity.tar", "w") as archive:
        archive.add(tmp_path / "0187_02_020_al_gore.avi", "ytcelebrity/0187_02_020_al_gore.avi")
    layout = LAYOUTS["youtube_celebrities"]
    report = video.prepare(
        layout, tmp_path / "in", tmp_path / "data", size=SIZE, on_bad_clip="skip"
    )
    assert report.clips == 1
    assert report.problems == ("youtube_celebrities has 1 classes, not 47",)


@pytest.mark.parametrize(
    ("name", "clips"),
    [
        ("ucf50", ["Biking/v_Biking_g01_c01.avi", "YoYo/v_YoYo_g02_c01.avi"]),
        ("ucf101", ["Archery/v_Archery_g01_c01.avi", "YoYo/v_YoYo_g02_c01.avi"]),
        ("hmdb51", ["clap/A_clap_u_nm_np1_fr_goo_0.avi", "wave/B_wave_u_nm_np1_fr_goo_5.avi"]),
        ("youtube_celebrities", ["0187_02_020_al_gore.avi", "1034_03_006_jet_li.avi"]),
    ],
)
def test_every_set_is_built_in_order(tmp_path, name, clips):
    folder = write_set(tmp_path / "source", clips, num_frames=4)
    video.prepare(LAYOUTS[name], folder, tmp_path, size=SIZE, on_bad_clip="skip")
    data = load(name, tmp_path, num_frames=4, protocol="random_5fold")
    classes = LAYOUTS[name].classes or ("al_gore", "jet_li")
    assert data.class_names == classes
    source = data.test.source
    found = [classes[source[n]["label"]] for n in range(2)]
    assert all(name in clip for name, clip in zip(found, clips))


def test_what_is_not_prepared_says_how(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"prepare\.py hmdb51 SOURCE .*hmdb51_org\.rar"):
        load("hmdb51", tmp_path)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
@pytest.mark.parametrize("file", ["metadata.json", "label.labels.txt", "*.array_record*"])
def test_damage_is_named_with_what_to_do(data_dir, tmp_path, file, damage):
    copy = shutil.copytree(data_dir, tmp_path / "copy")
    (path,) = copy.rglob(file)
    damage(path)
    with pytest.raises(OSError, match=r"damaged|cannot be read") as raised:
        next(train_batches(load("ucf11", copy, num_frames=2), batch_size=4, seed=0))
    assert "remove" in str(raised.value)


def test_more_frames_than_stored(data_dir):
    with pytest.raises(FileNotFoundError, match=r"with 9 frames is not prepared.* holds 4 frames"):
        load("ucf11", data_dir, num_frames=9)


MANY = [f"walking/v_walk_{g:02d}/v_walk_{g:02d}_{c:02d}.mpg" for g in range(25) for c in range(40)]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    first = write_clip(folder / MANY[0], num_frames=250, size=(240, 320), step=1)
    for name in MANY[1:]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(first, folder / name)
    return folder


@pytest.mark.slow
def test_killed_preparation_resumes_without_redoing_or_losing_clips(many, tmp_path, monkeypatch):
    root = Path(__file__).parents[3]
    script = [sys.executable, str(root / "experiments" / "prepare.py"), "ucf11", str(many)]
    options = ["--data-dir", str(tmp_path), "--on-bad-clip", "skip"]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.Popen(script + options, env=environment, stdout=subprocess.DEVNULL)
    while len(list(tmp_path.rglob("*.npy"))) < 100:
        assert process.poll() is None
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    assert 100 <= len(kept) < len(MANY)
    decoded = []

    def read(path, *size):
        decoded.append(path)
        return decode.read_clip(path, *size)

    monkeypatch.setattr(preparing, "read_clip", read)
    start = time.process_time()
    report = video.prepare(LAYOUTS["ucf11"], many, tmp_path, on_bad_clip="skip")
    rate = len(decoded) / (time.process_time() - start)
    assert len(decoded) == len(MANY) - len(kept)
    assert report.clips == len(MANY)
    assert rate > 20, f"{rate:.1f} clips a second and core"
