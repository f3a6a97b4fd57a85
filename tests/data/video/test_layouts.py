import pathlib
import re

import pytest

from ht_jax.data.video.layouts import LAYOUTS, scan


def touch(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    return folder


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_example_of_a_layout_is_a_clip_of_it(layout, tmp_path):
    found = scan(layout, touch(tmp_path, f"some/where/{layout.example}"))
    ((clip, path),) = found.clips
    assert clip.name == layout.example
    assert path == tmp_path / "some/where" / layout.example
    assert not [problem for problem in found.problems if "misnamed" in str(problem)]


@pytest.mark.parametrize(
    ("name", "classes", "clips"),
    [
        ("ucf11", 11, 1600),
        ("ucf50", 50, 6681),
        ("ucf101", 101, 13320),
        ("hmdb51", 51, 6766),
    ],
)
def test_documented_classes(name, classes, clips):
    layout = LAYOUTS[name]
    assert len(set(layout.classes)) == layout.num_classes == classes
    assert list(layout.classes) == sorted(layout.classes)
    assert layout.count == clips


@pytest.mark.parametrize(
    ("name", "path", "label", "group"),
    [
        ("ucf11", "biking/v_biking_03/v_biking_03_02.mpg", 1, "biking/v_biking_03"),
        ("ucf50", "Billiards/v_Billards_g07_c03.avi", 4, "Billiards/v_Billards_g07"),
        ("hmdb51", "sit/Fellowship_5_sit_u_cm_np1_fr_med_1.avi", 37, "Fellowship_5"),
        ("hmdb51", "wave/21_wave_u_nm_np1_fr_goo_5.avi", 50, "21"),
        ("youtube_celebrities", "0187_02_020_al_gore.avi", 0, "al_gore/02"),
    ],
)
def test_class_and_group_are_read_from_the_path(tmp_path, name, path, label, group):
    ((clip, _),) = scan(LAYOUTS[name], touch(tmp_path, path)).clips
    assert (clip.label, clip.group) == (label, group)


def test_what_does_not_fit_is_named(tmp_path):
    touch(tmp_path, "biking/v_biking_01/v_biking_01_01.mpg", "a/walking/v_walk_01/v_walk_01_01.mpg")
    touch(tmp_path, "biking/v_biking_01/holiday.mpg", "flying/v_fly_01/v_fly_01_01.mpg")
    touch(tmp_path, "b/walking/v_walk_01/v_walk_01_01.mpg", "biking/Annotation/notes.xgtf")
    (tmp_path / "diving").mkdir()
    found = scan(LAYOUTS["ucf11"], tmp_path)
    assert len(found.clips) == 2
    assert found.classes == LAYOUTS["ucf11"].classes
    texts = list(map(str, found.problems))
    assert texts[0].startswith("b/walking/v_walk_01/v_walk_01_01.mpg is there twice")
    assert texts[1].startswith("biking/v_biking_01/holiday.mpg is misnamed: a clip's path ends")
    assert texts[2] == "flying/v_fly_01/v_fly_01_01.mpg is in no class of ucf11"
    absent = [text.split()[0] for text in texts[3:]]
    assert absent == [name for name in found.classes if name not in ("biking", "walking")]


def test_order_is_that_of_the_names(tmp_path):
    touch(tmp_path, "z/basketball/v_shooting_02/v_shooting_02_01.mpg")
    touch(tmp_path, "z/basketball/v_shooting_01/v_shooting_01_02.mpg")
    touch(tmp_path, "a/walking/v_walk_01/v_walk_01_01.mpg")
    names = [clip.name for clip, _ in scan(LAYOUTS["ucf11"], tmp_path).clips]
    assert names == sorted(names)
    assert names[0].startswith("basketball/v_shooting_01")


def test_folder_without_clips_names_the_archive(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no clip of ucf11.*UCF11_updated_mpg\.rar"):
        scan(LAYOUTS["ucf11"], tmp_path)


def test_official_splits_of_ucf101(tmp_path):
    clips = [f"HandstandPushups/v_HandStandPushups_g0{g}_c01.avi" for g in (1, 2, 3)]
    touch(tmp_path, *clips)
    lists = tmp_path / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "testlist01.txt").write_text(f"{clips[0]}\n")
    (lists / "trainlist01.txt").write_text(f"{clips[1].replace('HandS', 'Hands')} 37\n")
    (lists / "testlist02.txt").write_text(f"{clips[1]}\n")
    found = [clip.official for clip, _ in scan(LAYOUTS["ucf101"], tmp_path).clips]
    assert found == [("test", "", ""), ("train", "test", ""), ("", "", "")]


def test_official_splits_of_hmdb51(tmp_path):
    names = [f"Film_{n}_wave_u_nm_np1_fr_goo_5.avi" for n in (1, 2, 3)]
    touch(tmp_path, *(f"wave/{name}" for name in names))
    lines = [f"{name} {side} \n" for name, side in zip(names, (1, 2, 0))]
    (tmp_path / "wave_test_split3.txt").write_text("".join(lines))
    found = [clip.official[2] for clip, _ in scan(LAYOUTS["hmdb51"], tmp_path).clips]
    assert found == ["train", "test", ""]


WAVE = "film0_wave_u_nm_np1_fr_goo_0.avi"


def hmdb51(folder, text, **options):
    touch(folder, f"wave/{WAVE}")
    (folder / "wave_test_split1.txt").write_bytes(text.encode(**options))
    found = scan(LAYOUTS["hmdb51"], folder)
    texts = [str(p) for p in found.problems if "class without" not in str(p)]
    return found.clips[0][0].official, texts


@pytest.mark.parametrize(
    "text", ["{} 1\n", "\ufeff{} 1\n", "{} 1\n \n\n", "{} 1\r\n", "  {}  1", "{} 1\n\t"]
)
def test_a_split_list_is_read_however_it_was_saved(tmp_path, text):
    assert hmdb51(tmp_path, text.format(WAVE)) == (("train", "", ""), [])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{} 3\n", "says .* 1 .train."),
        ("{}\n", "says .* 1 .train."),
        ("other_{0} 1\n{0} 1\n", "names wave/other_.* which is not there"),
        ("other_{} 1\n", "is in no official split list"),
        ("{0} 1\n{0} 2\n", "on another side"),
        ("{0} 1\n{0} 1\n", "named before"),
    ],
)
def test_what_lists_and_files_do_not_share_is_named(tmp_path, text, says):
    _, problems = hmdb51(tmp_path, text.format(WAVE))
    assert any(re.search(says, problem) for problem in problems)


def test_a_list_that_is_no_text_is_named(tmp_path):
    _, problems = hmdb51(tmp_path, f"{WAVE} 1\n", encoding="utf-16")
    assert any("cannot be read" in problem for problem in problems)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_linked_folders_are_followed_and_cycles_are_named(layout, tmp_path):
    disk, folder = tmp_path / "disk", tmp_path / "set"
    clip = touch(disk, f"inner/{layout.example}") / "inner"
    folder.mkdir()
    (folder / "linked").symlink_to(clip)
    (clip / "back").symlink_to(clip)
    (folder / "gone.avi").symlink_to(disk / "nothing")
    found = scan(layout, folder)
    assert [clip.name for clip, _ in found.clips] == [layout.example]
    texts = list(map(str, found.problems))
    assert "linked/back is a link to a folder that it lies in" in texts
    assert "gone.avi is a link to nothing" in texts


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    touch(tmp_path, f"wave/{WAVE}", f"walk/{WAVE}")
    inside = pathlib.Path.iterdir

    def denied(path):
        if path.name == "walk":
            raise PermissionError(13, "Permission denied")
        return inside(path)

    monkeypatch.setattr(pathlib.Path, "iterdir", denied)
    texts = list(map(str, scan(LAYOUTS["hmdb51"], tmp_path).problems))
    assert "walk cannot be read: Permission denied" in texts
