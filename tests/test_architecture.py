"""The rules of the source tree that a machine can check: what is imported when, sizes, names, places."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectomics.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
MODULES = sorted([*(ROOT / "connectomics").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")])

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 45
MAX_PARAMETERS = 7
MANY_PARAMETERS = {
    # the options of a command, and the pipeline's entry points that take the same
    "connectomics/cli/adapt.py": {"finetune", "select"},
    "connectomics/cli/doctor.py": {"doctor"},
    "connectomics/cli/phantom.py": {"phantom"},
    "connectomics/cli/predict.py": {"predict"},
    "connectomics/cli/segment.py": {"segment"},
    "connectomics/cli/translate.py": {"translate"},
    "connectomics/pipeline/adapt.py": {"select"},
    "connectomics/pipeline/convert.py": {"convert_volume"},
    "connectomics/pipeline/predict.py": {"predict_volume"},
    "connectomics/pipeline/segment.py": {"segment_volume"},
    "connectomics/pipeline/translate.py": {"translate_volume"},
}
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
TOP_LEVEL = {"pyproject.toml", "README.md", "LICENSE", "connectomics", "plugins", "scripts", "tests", "data"}

GUI = re.compile(r"^\s*(?:import|from)\s+(?:napari|qtpy|PySide\d|PyQt\d|vispy|magicgui)\b", re.MULTILINE)
REGISTRY = re.compile(
    r"(?:py)pi\.org|python(?:hosted)\.org|ana(?:conda)\.org|npm(?:js)\.|--(?:extra-)?index-url|/simple[/]"
)
MACHINE_PATH = re.compile(r"(?<![\w./])(?<!:-)/(?:work|root|home|tmp|mnt|Users)(?![\w-])")


# --- what is imported when ---------------------------------------------------------------------------------


def run_python(program: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


IMPORT_ALL = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.iter_modules(package.__path__, name + "."):
        importlib.import_module(module.name)
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""


@pytest.mark.parametrize(
    ("folders", "forbidden"),
    [
        (("segmentation", "evaluation"), {"torch", "monai", "lightning", "napari"}),
        (("io", "blockwise", "phantom"), {"torch", "monai", "lightning", "napari", "obstore", "boto3"}),
    ],
)
def test_what_needs_no_network_imports_none(folders: tuple[str, ...], forbidden: set[str]) -> None:
    loaded = set(run_python(IMPORT_ALL, *(f"connectomics.{folder}" for folder in folders)).split())
    assert {"numpy", "connectomics"} <= loaded
    assert loaded & forbidden == set()


ASK_FOR_HELP = """
import contextlib, io, sys
from connectomics.cli.main import run
for command in sys.argv[1:]:
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        code = run([*command.split(), "--help"])
    if code != 0 or "Usage" not in shown.getvalue():
        sys.exit(f"connectomics {command} --help: exit code {code}, {shown.getvalue()!r}")
    heavy = {"torch", "monai", "lightning", "zarr", "napari", "obstore", "boto3"} & set(sys.modules)
    if heavy:
        sys.exit(f"connectomics {command} --help imports {heavy}")
"""


def test_help_is_quick_because_it_imports_nothing_heavy() -> None:
    run_python(
        ASK_FOR_HELP,
        "",
        *COMMANDS,
        "models list",
        "models show",
        "models export",
        "data list",
        "data fetch",
        "adapt rank",
        "adapt select",
        "adapt finetune",
        "adapt plan",
    )


SCORE = """
import sys
from pathlib import Path
import h5py, numpy
from connectomics.cli.main import run
folder = Path(sys.argv[1])
with h5py.File(folder / "a.h5", "w") as file:
    data = file.create_dataset("submission", data=numpy.ones((4, 4, 4), "u8"))
    data.attrs["resolution"], data.attrs["offset"] = (99, 99, 99), (0, 0, 0)
(folder / "1.swc").write_text("1 0 50 50 50 1 -1\\n2 0 50 50 250 1 1\\n")
code = run(["score", f"{folder}/a.h5", "--skeletons", f"{folder}/1.swc", "--quiet"])
if code != 0:
    sys.exit(f"exit code {code}")
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""


def test_score_needs_no_network(tmp_path: Path) -> None:
    loaded = set(run_python(SCORE, str(tmp_path)).split())
    assert "h5py" in loaded
    assert loaded & {"torch", "monai", "lightning", "napari", "zarr"} == set()


def test_the_package_never_imports_a_gui() -> None:
    package = (ROOT / "connectomics").rglob("*.py")
    assert [path for path in package if GUI.search(path.read_text(encoding="utf-8"))] == []
    assert GUI.search("def f():\n    from napari.layers import Labels\n"), "test invalid"


# --- sizes and names ---------------------------------------------------------------------------------------


def broken_rules(path: str, text: str) -> Iterator[str]:
    """Every rule that a module of this path and text breaks."""
    tree = ast.parse(text)
    opening = (ast.get_docstring(tree) or "").split("\n\n")[0]
    if not opening or "\n" in opening:
        yield f"{path}: does not open with one line saying what it is"
    if len(text.splitlines()) > MAX_FILE_LINES:
        yield f"{path}: more than {MAX_FILE_LINES} lines"
    if Path(path).stem in VAGUE_NAMES or Path(path).parent.name in VAGUE_NAMES:
        yield f"{path}: a name that says nothing"
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            yield f"{path}:{node.lineno}: assert; raise an error of connectomics.errors"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            if not path.startswith("connectomics/cli/"):
                yield f"{path}:{node.lineno}: print outside the command line"
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from broken_by_function(path, node)


def broken_by_function(path: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    where = f"{path}:{node.lineno}: {node.name}"
    if code_lines(node) > MAX_FUNCTION_LINES:
        yield f"{where}: {code_lines(node)} lines of code"
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    names = [argument.arg for argument in arguments if argument.arg not in {"self", "cls"}]
    if len(names) > MAX_PARAMETERS and node.name not in MANY_PARAMETERS.get(path, set()):
        yield f"{where}: {len(names)} parameters"


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function, its docstring apart."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node) is not None:
        text = node.body[0]
        lines -= (text.end_lineno or text.lineno) - text.lineno + 1
    return lines


def test_every_module_keeps_the_rules() -> None:
    assert len(MODULES) > 50
    broken = [
        rule
        for path in MODULES
        for rule in broken_rules(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    ]
    assert broken == []


def test_the_exceptions_are_needed() -> None:
    for path, names in MANY_PARAMETERS.items():
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        functions = {node.name: node.args for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        for name in names:
            assert len(functions[name].args + functions[name].kwonlyargs) > MAX_PARAMETERS, f"{path}: {name}"


@pytest.mark.parametrize(
    ("path", "text", "rule"),
    [
        ("connectomics/io/a.py", "x = 1\n", "does not open"),
        ("connectomics/io/a.py", '"""Two\nlines."""\n', "does not open"),
        ("connectomics/io/utils.py", '"""A."""\n', "says nothing"),
        ("connectomics/common/a.py", '"""A."""\n', "says nothing"),
        ("connectomics/io/a.py", '"""A."""\n' + "x = 1\n" * 300, "300 lines"),
        ("connectomics/io/a.py", '"""A."""\nassert True\n', "assert"),
        ("connectomics/io/a.py", '"""A."""\nprint(1)\n', "print"),
        ("connectomics/io/a.py", '"""A."""\ndef f():\n' + "    x = 1\n" * 45, "46 lines"),
        ("connectomics/io/a.py", '"""A."""\ndef f(a, b, c, d, *, e, f, g, h):\n    pass\n', "8 param"),
    ],
)
def test_a_broken_rule_is_noticed(path: str, text: str, rule: str) -> None:
    (found,) = broken_rules(path, text)
    assert rule in found


def test_what_keeps_the_rules_is_let_through() -> None:
    module = '"""A.\n\nMore of it\nin lines.\n"""\ndef f(self, a, b, c, d, e, f, g):\n    """B.\n'
    assert list(broken_rules("connectomics/io/a.py", module + "\n" * 60 + '    """\n')) == []
    assert list(broken_rules("connectomics/cli/a.py", '"""A."""\nprint(1)\n')) == []


# --- what is under version control -------------------------------------------------------------------------


def tracked() -> list[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    return [name for name in listed.stdout.split("\0") if name]


def lines_that_match(pattern: re.Pattern[str]) -> list[str]:
    found = []
    for name in tracked():
        path = ROOT / name
        if not path.is_file() or path.suffix in {".safetensors", ".png"}:
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        found += [f"{name}:{n}: {line[:120]}" for n, line in enumerate(lines, 1) if pattern.search(line)]
    return found


def test_top_level_holds_what_the_readme_says() -> None:
    top = {name.split("/")[0] for name in tracked()}
    assert {name for name in top if not name.startswith(".")} <= TOP_LEVEL


def test_no_file_names_a_package_registry() -> None:
    assert lines_that_match(REGISTRY) == []
    assert REGISTRY.search("https://" + "pypi" + ".org/simple"), "test invalid"


def test_no_file_holds_a_path_of_a_machine() -> None:
    assert lines_that_match(MACHINE_PATH) == []
    for path in ("work/main", "home/me/data", "tmp", "root/x"):
        assert MACHINE_PATH.search(f'open("/{path}")'), "test invalid"
    for text in ("a/home/b", "${TMPDIR:-/" + "tmp}", "/homework", "https://x.org/work/1"):
        assert not MACHINE_PATH.search(text), text
