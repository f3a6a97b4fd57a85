"""The layouts of the official archives: where the clips lie, and what their names say.

A file is found by the end of its path, so it does not matter in which folder an archive was
unpacked. Whatever does not fit the layout is reported as a `Problem`, never dropped silently.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
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
class Entry:
    """A line of an official split list.

    Attributes:
        where: the list.
        clip: its path, as written.
        split: which of three.
        side: "train", "test" or "".
    """

    where: str
    clip: str
    split: int
    side: str


SIDES = {"1": "train", "2": "test", "0": ""}  # of HMDB51


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
        official: reads an official split list: (clip's path, which of three splits, its side)
            for each line, or what is wrong with it; nothing of another file.
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
    official: Callable[[Path], Iterator[tuple[str, int, str] | str]] | None = None

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
    problems: list[Problem] = []
    files = _listed(folders, problems)
    for path, place in files:
        if path.suffix.lower() != layout.suffix or path.name.startswith("."):
            continue
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
    sides = _official(_entries(layout, files, problems), found, problems)
    clips = _clips(layout, classes, found, sides)
    return Scan(classes, clips, (*problems, *_absent(layout, classes, clips)))


def _listed(folders: Sequence[Path], problems: list[Problem]) -> list[tuple[Path, str]]:
    """All files, each with its path below its folder; links to folders are followed."""
    found = []
    for folder in folders:
        paths = sorted(_walked(folder, folder, frozenset(), problems))
        found += [(path, path.relative_to(folder).as_posix()) for path in paths]
    return found


def _walked(
    folder: Path, top: Path, above: frozenset[Path], problems: list[Problem]
) -> Iterator[Path]:
    place = folder.relative_to(top).as_posix()
    try:
        real, inside = folder.resolve(strict=True), list(folder.iterdir())
    except OSError as error:
        problems.append(Problem(place, f"cannot be read: {error.strerror}"))
        return
    if real in above:
        problems.append(Problem(place, "is a link to a folder that it lies in"))
        return
    for path in inside:
        if path.is_dir():
            yield from _walked(path, top, above | {real}, problems)
        elif path.is_file():
            yield path
        elif path.is_symlink():
            problems.append(Problem(path.relative_to(top).as_posix(), "is a link to nothing"))


def _misplaced(layout: Layout, match: re.Match | None, found: dict) -> str | None:
    if match is None:
        return f"is misnamed: a clip's path ends like {layout.example}"
    if layout.classes is not None and match["class"] not in layout.classes:
        return f"is in no class of {layout.name}"
    if match[0].lstrip("/") in found:
        return "is there twice"
    return None


def _clips(
    layout: Layout, classes: tuple[str, ...], found: dict, sides: dict[str, list[str]]
) -> tuple[tuple[Clip, Path], ...]:
    label = {name: index for index, name in enumerate(classes)}

    def clip(name: str, match: re.Match) -> Clip:
        official = sides.get(name.lower(), ["", "", ""]) if sides else ()
        group = layout.group.format(**match.groupdict())
        return Clip(name, label[match["class"]], group, tuple(official))

    return tuple((clip(name, match), path) for name, (match, path) in sorted(found.items()))


def _official(
    entries: Sequence[Entry], names: Iterable[str], problems: list[Problem]
) -> dict[str, list[str]]:
    """The sides of each clip, by its name in lower case; what lists and files do not share."""
    files, sides, listed = {name.lower(): name for name in names}, {}, set()
    for entry in entries:
        key = entry.clip.lower()
        place = sides.setdefault(key, ["", "", ""])
        if key not in files:
            problems.append(Problem(entry.where, f"names {entry.clip}, which is not there"))
        elif (key, entry.split) in listed and entry.side != place[entry.split]:
            problems.append(
                Problem(entry.where, f"puts {entry.clip} on another side than a line before")
            )
            continue
        elif (key, entry.split) in listed:
            problems.append(Problem(entry.where, f"names {entry.clip}, named before"))
        listed.add((key, entry.split))
        place[entry.split] = entry.side
    missing = [name for key, name in files.items() if key not in sides] if entries else []
    problems += [Problem(name, "is in no official split list") for name in missing]
    return sides


def _absent(layout: Layout, classes: tuple[str, ...], clips: tuple) -> Iterator[Problem]:
    filled = {clip.label for clip, _ in clips}
    for label, name in enumerate(classes):
        if label not in filled:
            yield Problem(name, "is a class without clips: its folder is missing or empty")
    if len(classes) != layout.num_classes:
        yield Problem(layout.name, f"has {len(classes)} classes, not {layout.num_classes}")


def _ucf101_splits(path: Path) -> Iterator[tuple[str, int, str] | str]:
    """`trainlist01.txt` and the like: a clip's path on every line, and a class that we know."""
    if named := re.fullmatch(r"(train|test)list0([123])\.txt", path.name):
        for line in _lines(path):
            yield line.split()[0], int(named[2]) - 1, named[1]


def _hmdb51_splits(path: Path) -> Iterator[tuple[str, int, str] | str]:
    """`<class>_test_split1.txt` and the like: a file and 1 (train), 2 (test) or 0 (neither)."""
    if named := re.fullmatch(r"(.*)_test_split([123])\.txt", path.name):
        for line in _lines(path):
            file, *code = line.split()
            if len(code) == 1 and code[0] in SIDES:
                yield f"{named[1]}/{file}", int(named[2]) - 1, SIDES[code[0]]
            else:
                yield f"says {line!r}: give a file, and 1 (train), 2 (test) or 0 (neither)"


def _lines(path: Path) -> Iterator[str]:
    """The lines of a text that hold something, whatever editor saved it."""
    return filter(None, map(str.strip, path.read_text(encoding="utf-8-sig").splitlines()))


def _entries(
    layout: Layout, files: Sequence[tuple[Path, str]], problems: list[Problem]
) -> list[Entry]:
    """What the split lists among the files say."""
    entries = []
    for path, place in files if layout.official else ():
        try:
            for said in layout.official(path) if layout.official else ():
                if isinstance(said, str):
                    problems.append(Problem(place, said))
                else:
                    entries.append(Entry(place, *said))
        except (OSError, UnicodeDecodeError) as error:
            problems.append(Problem(place, f"cannot be read: {error}"))
    return entries


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
