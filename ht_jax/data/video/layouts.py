"""The layouts of the official archives: where the clips lie, and what their names say.

A file is found by the end of its path, so it does not matter in which folder an archive was
unpacked. Whatever does not fit the layout is reported as a `Problem`, never dropped silently.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ht_jax.data.video import names
from ht_jax.data.video.protocols import Clip


@dataclass(frozen=True)
class Problem:
    """Something in the folder that is not as documented, or a clip that cannot be used.

    Attributes:
        where: a file's path below the folder, or a class.
        what: is wrong with it.
    """

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where} {self.what}"


@dataclass(frozen=True)
class Layout:
    """The layout of a video set.

    Attributes:
        name: of the set.
        archives: file names of the official archives, clips first.
        example: how a clip's path ends, as documentation.
        pattern: matches the end of a clip's path; its group "class" names the class.
        count: documented clips.
        num_classes: documented classes.
        classes: their names; None if only the clips tell.
        group: of a clip, a format of the pattern's groups.
        official: reads the official splits in folders: from a clip's path, in lower case, to its
            side in each of three splits.
        homepage: of the set.
    """

    name: str
    archives: tuple[str, ...]
    example: str
    pattern: str
    count: int
    num_classes: int
    classes: tuple[str, ...] | None
    homepage: str
    group: str = "{class}/{group}"
    official: Callable[[Sequence[Path]], dict[str, list[str]]] | None = None

    @property
    def suffix(self) -> str:
        """Of a video file."""
        return Path(self.example).suffix


@dataclass(frozen=True)
class Scan:
    """What was found in a folder.

    Attributes:
        classes: names, in the order of the labels.
        clips: with the paths of their files, in the order of their names.
        problems: what does not fit the layout.
    """

    classes: tuple[str, ...]
    clips: tuple[tuple[Clip, Path], ...]
    problems: tuple[Problem, ...]


def scan(layout: Layout, *folders: Path) -> Scan:
    """Finds the clips of a set.

    Args:
        layout: of the set.
        *folders: hold what the archives unpack to, at any depth.

    Returns:
        The clips and the problems.

    Raises:
        FileNotFoundError: there is no clip at all.
    """
    found: dict[str, tuple[re.Match, Path]] = {}
    problems = []
    for path, place in _files(folders, layout.suffix):
        match = re.search(f"(?:^|/){layout.pattern}$", place)
        problem = _misplaced(layout, match, found)
        if problem is None and match is not None:
            found[match[0].lstrip("/")] = match, path
        else:
            problems.append(Problem(place, str(problem)))
    if not found:
        raise FileNotFoundError(
            f"{folders[0]} holds no clip of {layout.name}: pass the folder of "
            f"{' and '.join(layout.archives)}, or of what they unpack to, {layout.example}"
        )
    classes = layout.classes or tuple(sorted({match["class"] for match, _ in found.values()}))
    clips = _clips(layout, folders, classes, found)
    return Scan(classes, clips, (*problems, *_absent(layout, classes, clips)))


def _files(folders: Sequence[Path], suffix: str) -> Iterator[tuple[Path, str]]:
    """Video files, each with its path below its folder."""
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() == suffix and not path.name.startswith(".") and path.is_file():
                yield path, path.relative_to(folder).as_posix()


def _misplaced(layout: Layout, match: re.Match | None, found: dict) -> str | None:
    if match is None:
        return f"is misnamed: a clip's path ends like {layout.example}"
    if layout.classes is not None and match["class"] not in layout.classes:
        return f"is in no class of {layout.name}"
    if match[0].lstrip("/") in found:
        return "is there twice"
    return None


def _clips(
    layout: Layout, folders: Sequence[Path], classes: tuple[str, ...], found: dict
) -> tuple[tuple[Clip, Path], ...]:
    official = layout.official(folders) if layout.official else {}
    label = {name: index for index, name in enumerate(classes)}

    def clip(name: str, match: re.Match) -> Clip:
        sides = official.get(name.lower(), ["", "", ""]) if official else ()
        group = layout.group.format(**match.groupdict())
        return Clip(name, label[match["class"]], group, tuple(sides))

    return tuple((clip(name, match), path) for name, (match, path) in sorted(found.items()))


def _absent(layout: Layout, classes: tuple[str, ...], clips: tuple) -> Iterator[Problem]:
    filled = {clip.label for clip, _ in clips}
    for label, name in enumerate(classes):
        if label not in filled:
            yield Problem(name, "is a class without clips: its folder is missing or empty")
    if len(classes) != layout.num_classes:
        yield Problem(layout.name, f"has {len(classes)} classes, not {layout.num_classes}")


def _ucf101_splits(folders: Sequence[Path]) -> dict[str, list[str]]:
    """`trainlist01.txt` and the like: a clip's path on every line, and a class that we know."""
    sides: dict[str, list[str]] = {}
    for split in range(3):
        for side in ("train", "test"):
            for path in _texts(folders, f"{side}list0{split + 1}.txt"):
                for line in filter(None, path.read_text().splitlines()):
                    sides.setdefault(line.split()[0].lower(), ["", "", ""])[split] = side
    return sides


def _hmdb51_splits(folders: Sequence[Path]) -> dict[str, list[str]]:
    """`<class>_test_split1.txt` and the like: a file and 1 (train), 2 (test) or 0 (neither)."""
    sides: dict[str, list[str]] = {}
    for path in _texts(folders, "*_test_split[123].txt"):
        name, split = path.stem.rsplit("_test_split", 1)
        for line in filter(None, path.read_text().splitlines()):
            file, side = line.split()
            place = sides.setdefault(f"{name}/{file}".lower(), ["", "", ""])
            place[int(split) - 1] = {"1": "train", "2": "test", "0": ""}[side]
    return sides


def _texts(folders: Sequence[Path], pattern: str) -> list[Path]:
    return [path for folder in folders for path in folder.rglob(pattern)]


_UCF = r"(?P<class>\w+)/(?P<group>v_\w+_g\d+)_c\d+\.avi"
LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout(
            name="ucf11",
            archives=("UCF11_updated_mpg.rar",),
            example="basketball/v_shooting_01/v_shooting_01_01.mpg",
            pattern=r"(?P<class>\w+)/(?P<group>v_\w+_\d+)/v_\w+_\d+\.mpg",
            count=1600,
            num_classes=11,
            classes=names.UCF11,
            homepage="https://www.crcv.ucf.edu/data/UCF_YouTube_Action.php",
        ),
        Layout(
            name="ucf50",
            archives=("UCF50.rar",),
            example="BaseballPitch/v_BaseballPitch_g01_c01.avi",
            pattern=_UCF,
            count=6681,
            num_classes=50,
            classes=names.UCF50,
            homepage="https://www.crcv.ucf.edu/data/UCF50.php",
        ),
        Layout(
            name="ucf101",
            archives=("UCF101.rar", "UCF101TrainTestSplits-RecognitionTask.zip"),
            example="ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi",
            pattern=_UCF,
            count=13320,
            num_classes=101,
            classes=names.UCF101,
            homepage="https://www.crcv.ucf.edu/data/UCF101.php",
            official=_ucf101_splits,
        ),
        Layout(
            name="hmdb51",
            archives=("hmdb51_org.rar", "test_train_splits.rar"),
            example="brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi",
            pattern=r"(?P<class>[a-z_]+)/(?P<group>[^/]+?)(?:_(?P=class))?"
            r"_[a-z]_[cn]m_np\d_[a-z]+_[a-z]+_\d+\.avi",
            count=6766,
            num_classes=51,
            classes=names.HMDB51,
            homepage="https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/",
            group="{group}",  # one film, in whatever classes
            official=_hmdb51_splits,
        ),
        Layout(
            name="youtube_celebrities",
            archives=("ytcelebrity.tar",),
            example="0001_01_001_al_pacino.avi",
            pattern=r"\d{4}_(?P<video>\d+)_\d{3}_(?P<class>[^/]+)\.avi",
            count=1910,
            num_classes=47,
            classes=None,
            group="{class}/{video}",
            homepage="http://seqamlab.com/youtube-celebrities-face-tracking-and-recognition-dataset/",
        ),
    )
}
