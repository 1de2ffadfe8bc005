"""The rules of the package's layout, checked in the source: see the section Layers of docs/architecture.md."""

import ast
import functools
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tddfa
from tddfa._shared.packages import REQUIREMENTS

ROOT = Path(__file__).resolve().parents[1]
MAX_FILES = 14
# Packages that `import tddfa` and aligning must not load: the extras, and what is slow to load.
HEAVY = {
    "PIL", "av", "fastapi", "fsspec", "gradio", "imageio", "matplotlib", "onnx", "onnxruntime", "pi_heif", "pooch",
    "pyarrow", "pythonosc", "ray", "requests", "scipy", "supervision", "torch", "tqdm", "trimesh", "urllib3", "uvicorn",
}  # fmt: skip


@dataclass(frozen=True)
class Import:
    """One imported module.

    Attributes
    ----------
    target : str
        Module of tddfa, or the name of another package.
    line : int
    in_function : bool
    """

    target: str
    line: int
    in_function: bool


@functools.cache
def modules() -> dict[str, Path]:
    """Every module of tddfa by its dotted name; an extension module is its ``.pyi``."""
    files = sorted((ROOT / "tddfa").rglob("*.py*"))
    files = [file for file in files if file.suffix in (".py", ".pyi")]
    return {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def resolve(module: str, name: str) -> str:
    """The module that ``from module import name`` loads; a name of the top level leads to its home."""
    if module == "tddfa" and name in tddfa._HOMES:
        return f"tddfa.{tddfa._HOMES[name]}"
    return f"{module}.{name}" if f"{module}.{name}" in modules() else module


def walk(node: ast.AST, in_function: bool = False) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                target = alias.name if alias.name in modules() else alias.name.split(".")[0]
                yield Import(target, child.lineno, in_function)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"line {child.lineno}: expected an absolute import"
            module = child.module or ""
            if module.split(".")[0] == "tddfa":
                yield from (Import(resolve(module, alias.name), child.lineno, in_function) for alias in child.names)
            else:
                yield Import(module.split(".")[0], child.lineno, in_function)
        else:
            yield from walk(child, in_function or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))


@functools.cache
def imports() -> dict[str, tuple[Import, ...]]:
    """What each module imports, wherever: at the top, in functions, for type checking."""
    return {name: tuple(walk(ast.parse(file.read_text(encoding="utf-8")))) for name, file in modules().items()}


def layers() -> dict[str, int]:
    """Rank of each module or package of the first level: order in the table of docs/architecture.md, row by row."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    section = text[text.index("## Layers") :]
    rows = re.findall(r"^\| \d+ \| ([^|]+) \|", section, re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert len(set(names)) == len(names)
    return {name: rank for rank, name in enumerate(names)}


def layer(module: str) -> str:
    """Module or package of the first level; an entry point (``python -m``) is above all of them."""
    return "__main__" if module.endswith(".__main__") else module.split(".")[1]


def test_the_table_of_layers_names_every_module_and_package():
    ranked = set(layers())
    there = {layer(name) for name in modules() if name != "tddfa"} - {"__main__"}
    assert not there - ranked, "missing in docs/architecture.md"
    assert not ranked - there, "in docs/architecture.md, but not in tddfa/"


def test_no_module_imports_a_higher_layer():
    rank = layers() | {"__main__": len(layers())}
    wrong = [
        f"{modules()[name].relative_to(ROOT)}:{found.line}: {found.target}"
        for name in modules()
        for found in imports()[name]
        if name != "tddfa" and found.target.startswith("tddfa.") and rank[layer(found.target)] > rank[layer(name)]
    ]
    assert not wrong, "\n" + "\n".join(wrong)


def circles() -> list[list[str]]:
    """Groups of modules each of which reaches all others."""
    edges = {name: {found.target for found in imports()[name] if found.target in modules()} for name in modules()}
    reached: dict[str, set[str]] = {}
    for start in edges:
        seen: set[str] = set()
        ahead = [start]
        while ahead:
            new = edges[ahead.pop()] - seen
            seen |= new
            ahead += new
        reached[start] = seen
    groups = {frozenset({a, *(b for b in reached[a] if a in reached[b])}) for a in edges if a in reached[a]}
    return sorted(sorted(group) for group in groups)


def test_no_import_circle_among_modules():
    assert not circles(), "\n" + "\n".join(", ".join(group) for group in circles())


@functools.cache
def heavy_modules() -> frozenset[str]:
    """Modules of tddfa that load one of `HEAVY` when they are imported, themselves or by what they import."""
    top = {name: {found.target for found in imports()[name] if not found.in_function} for name in modules()}
    heavy = {name for name in modules() if top[name] & HEAVY}
    while more := {name for name in modules() if name not in heavy and top[name] & heavy}:
        heavy |= more
    return frozenset(heavy)


def test_imports_inside_functions_are_for_commands_and_heavy_packages():
    allowed = HEAVY | heavy_modules()
    wrong = [
        f"{modules()[name].relative_to(ROOT)}:{found.line}: {found.target}"
        for name in modules()
        for found in imports()[name]
        # drivers of peers run in another Python, where a missing package has to give a message
        if found.in_function and not name.startswith(("tddfa.cli", "tddfa.bench.peers")) and found.target not in allowed
    ]
    assert not wrong, "\n" + "\n".join(wrong)


def test_messages_know_the_requirement_of_every_package_that_is_imported():
    own = {"tddfa", "FaceBoxes", "Sim3DR"}
    come_with_pooch = {"requests", "urllib3"}
    # the drivers of peers import the modules of another toolkit
    tops = {found.target.split(".")[0] for name in modules() if ".peers." not in name for found in imports()[name]}
    assert tops - own - come_with_pooch - set(sys.stdlib_module_names) <= set(REQUIREMENTS)


def test_no_folder_has_more_files_than_a_reader_can_take_in():
    folders = [folder for folder in (ROOT / "tddfa").rglob("*") if folder.is_dir()]
    counts = {folder.relative_to(ROOT).as_posix(): len(list(folder.glob("*.py"))) for folder in folders}
    assert not {folder: count for folder, count in counts.items() if count > MAX_FILES}
