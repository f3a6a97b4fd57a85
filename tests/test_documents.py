"""What README.md and CONTRIBUTING.md tell to run does run, and what they point at is there.

Python blocks run here, as one script a document. A command runs here too, unless it installs,
trains, tests or measures: then ELSEWHERE says who runs it. `.ci/run` calls this file's slow tests.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")

# What readers have and the blocks do not define: a matrix and a model of their own.
GIVEN = """
import jax, ht_jax as ht
from flax import nnx
kernel = ht.HT((8, 10, 10, 9, 8), (4, 4, 2, 4, 2), leaf_rank=4, rank=5).init(jax.random.key(0))
kernel = kernel.to_dense()
model = nnx.Linear(48, 16, rngs=nnx.Rngs(0))
"""

# Commands that are not run here: a pattern, the file that has it run, and words that stand there.
ELSEWHERE = (
    (r"python3 -m venv \.venv", ".ci/run", "python3 -m venv"),
    (r"\S+/pip install -q -e '\.\[\w+\]'", ".ci/run", "--editable '.[dev]'"),
    (r"\S*pytest -n 2 -m \"not slow\"", ".ci/run", 'pytest -n 2 -m "not slow"'),
    (r"pyright", ".ci/run", "\npyright\n"),
    (r"python -m build", ".ci/run", "python -m build"),
    (r"\S*python experiments/train\.py", ".ci/run", "experiments/train.py"),
    (
        r"python experiments/bench\.py --suite layer",
        "experiments/results/bench_layer.json",
        "layer",
    ),
)


def blocks(document, language):
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands():
    for document in DOCUMENTS:
        for block in blocks(document, "(?:bash|sh|console)"):
            for line in block.replace("\\\n", " ").splitlines():
                yield from (part.strip() for part in line.split("&&") if part.strip())


def run(arguments, **options):
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    env = {**os.environ, "PATH": os.pathsep.join(places), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        arguments, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_blocks_are_found():
    assert blocks("CONTRIBUTING.md", "python")
    assert len(list(commands())) > 5


def test_no_block_has_a_language_that_is_not_run():
    for document in DOCUMENTS:
        opening = re.findall(r"^```(.*)\n(?:.*\n)*?^```$", (ROOT / document).read_text(), re.M)
        assert set(opening) <= {"python", "bash", "bibtex", "text"}, document


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS)
def test_python_blocks_run(document, tmp_path):
    script = tmp_path / "blocks.py"
    script.write_text("\n".join([GIVEN, *blocks(document, "python")]), encoding="utf-8")
    if blocks(document, "python"):
        run([sys.executable, str(script)])


@pytest.mark.slow
@pytest.mark.parametrize("command", list(dict.fromkeys(commands())))
def test_commands_run(command):
    for pattern, file, words in ELSEWHERE:
        if re.fullmatch(pattern, command):
            assert words in (ROOT / file).read_text(encoding="utf-8"), f"{file} lost {words!r}"
            return
    run(command, shell=True)


def test_programs_that_are_named_exist_and_teach():
    text = "".join((ROOT / document).read_text(encoding="utf-8") for document in DOCUMENTS)
    for program in sorted(set(re.findall(r"experiments/[\w/]+\.py", text))):
        assert (ROOT / program).exists(), program


@pytest.mark.slow
@pytest.mark.parametrize("program", sorted(p.name for p in (ROOT / "experiments").glob("*.py")))
def test_every_program_has_help(program):
    path = ROOT / "experiments" / program
    if "__main__" in path.read_text(encoding="utf-8"):
        assert "usage:" in run([sys.executable, str(path), "--help"])


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_and_pictures_are_there(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    for alt, target in re.findall(r"(!?\[[^\]]*\])\(([^)\s]+)\)", text):
        assert alt != "![]", f"{target} has no alt text"
        if not re.match(r"https?:|#|mailto:", target):
            assert (ROOT / target.split("#")[0]).exists(), target
