"""The shape of the house: imports run one way, files stay short, the public is documented."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "liir"
MAX_LINES = 400

# A module may import only from modules above it. Names may stand here before their file exists.
ORDER = """
errors launch heap threads files inputs presets settings frames pictures truncation video_file
video_writer video
rle coco labels annotations export jobs
colour grid guide position encoder backbones conversion kernel matching affinity blur compactness
newcomers common_fate memory votes keypoints result spool tracking figures
evaluation.metrics evaluation.layouts evaluation.youtube evaluation.parts evaluation.joints
evaluation.stored evaluation.kept evaluation.report evaluation.scoring evaluation.sources
evaluation.flow evaluation.benchmarks
learning.batch_norm learning.distributed
learning.shards learning.places learning.shots learning.draws learning.views learning.frame_cache
learning.clips learning.faults learning.negatives learning.reconstruction learning.disguise
learning.pieces learning.contrast learning.teacher learning.objective
learning.samples learning.monitor learning.checkpoint learning.widening learning.start
learning.schedule learning.signals learning.loading learning.guard learning.trainer
learning.adapting evaluation.plans evaluation.ablation evaluation.session
folder labelling page.* terminal show.* evaluation.command evaluation.ablate footage cli
""".split()

EXEMPT = {"__init__", "__main__"}


def module_name(path: Path, package: Path = PACKAGE) -> str:
    """`learning.clips` for liir/learning/clips.py, `learning` for its __init__.py."""
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (REPOSITORY / folder).rglob("*.py"))


def modules() -> list[Path]:
    return [path for path in sources("liir") if path.stem not in EXEMPT]


def each(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "path", paths, ids=[path.relative_to(REPOSITORY).as_posix() for path in paths]
    )


def rank(module: str) -> int | None:
    """Place of a module in ORDER; `page.*` stands for everything under page; None if unlisted."""
    for place, entry in enumerate(ORDER):
        if module == entry or (entry.endswith(".*") and module.startswith(entry[:-1])):
            return place
    return None


def package_rank(name: str) -> int | None:
    """A package's __init__ may re-export all of its modules, so it ranks as its last one."""
    return max((place for place, e in enumerate(ORDER) if e.startswith(name + ".")), default=None)


def is_module(name: str) -> bool:
    return rank(name) is not None or (PACKAGE / Path(*name.split("."))).with_suffix(".py").exists()


def imported(tree: ast.Module, module: str) -> Iterator[tuple[int, str]]:
    """(line, name inside liir) of each import of the package; "" is the package itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                head, _, rest = alias.name.partition(".")
                if head == "liir":
                    yield node.lineno, rest
        elif isinstance(node, ast.ImportFrom):
            base = (node.module or "").split(".") if node.module else []
            if node.level:
                base = ["liir", *module.split(".")[: -node.level], *base]
            if base[:1] == ["liir"]:
                for alias in node.names:
                    inner = ".".join([*base[1:], alias.name])
                    yield node.lineno, inner if is_module(inner) else ".".join(base[1:])


def wrong_imports(source: str, module: str) -> list[str]:
    """What is wrong with the imports of a module, one line each."""
    own = rank(module)
    if own is None:
        return [f"liir.{module} is not in ORDER of tests/test_structure.py: add it at its place"]
    found = []
    for line, target in imported(ast.parse(source), module):
        if target == "":
            if module not in ("cli", "footage"):
                found.append(f"line {line}: only cli may import from the package itself")
            continue
        place = rank(target)
        place = package_rank(target) if place is None else place
        siblings = place == own and ORDER[own].endswith(".*")
        if place is None:
            found.append(f"line {line}: liir.{target} is not in ORDER of tests/test_structure.py")
        elif place >= own and not siblings:
            found.append(f"line {line}: liir.{module} may not import liir.{target}, which is below")
    return found


def documented(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, bool]]:
    """(name, has a docstring) of public functions, classes and methods."""
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        marks = {ast.unparse(mark).split(".")[-1] for mark in node.decorator_list}
        if node.name.startswith("_") or marks & {"overload", "setter", "override"}:
            continue
        yield prefix + node.name, ast.get_docstring(node) is not None
        if isinstance(node, ast.ClassDef):
            yield from documented(node.body, f"{prefix}{node.name}.")


@each(modules())
def test_imports_run_one_way(path: Path) -> None:
    assert wrong_imports(path.read_text("utf-8"), module_name(path)) == []


@each(sources("liir", "tests", "benchmarks", "examples"))
def test_file_is_short(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= MAX_LINES


@each([path for path in sources("liir") if module_name(path) not in ("cli", "footage")])
def test_library_does_not_print(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if is_print(node)]
    assert [call.lineno for call in calls] == []


def is_print(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "print"


@each(sources("liir"))
def test_public_names_are_documented(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    assert ast.get_docstring(tree), "the module has no docstring"
    assert [name for name, has in documented(tree.body) if not has] == []


@each(modules())
def test_module_has_its_test(path: Path) -> None:
    mirror = REPOSITORY / "tests" / path.relative_to(PACKAGE).with_name(f"test_{path.name}")
    if any(
        isinstance(node, ast.FunctionDef) for node in ast.walk(ast.parse(path.read_text("utf-8")))
    ):
        assert mirror.exists(), f"write {mirror.relative_to(REPOSITORY)}"


@pytest.mark.parametrize(
    ("module", "source", "good"),
    [
        ("tracking", "from liir.memory import Memory", True),
        ("tracking", "import torch\nfrom .memory import Memory", True),
        ("memory", "from liir.tracking import track", False),
        ("memory", "from liir import tracking", False),
        ("memory", "from . import tracking", False),
        ("memory", "import liir", False),
        ("memory", "def f():\n    import liir.cli", False),
        ("memory", "from liir.memory import Memory", False),
        ("memory", "from liir.utils import helper", False),
        ("utils", "import torch", False),
        ("cli", "from liir import __version__", True),
        ("cli", "from liir.learning import train", True),
        ("tracking", "from liir.learning import train", False),
        ("learning.trainer", "from .clips import Clips", True),
        ("learning.clips", "from ..video import open_video", True),
        ("learning.clips", "from ..labelling import label_video", False),
        ("page.server", "from liir.page.session import Session", True),
    ],
)
def test_the_import_rule_itself(module: str, source: str, good: bool) -> None:
    assert (wrong_imports(source, module) == []) == good
