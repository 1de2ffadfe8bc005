import ast
import builtins

import pytest

import tddfa
from tddfa._shared.errors import ConfigError
from tddfa.compat.download import DownloadError


def is_builtin_exception(name):
    kind = getattr(builtins, name, None)
    return isinstance(kind, type) and issubclass(kind, BaseException)


def test_every_public_error_is_a_tddfa_error(root):
    classes = [
        node
        for path in (root / "tddfa").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and node.name != "TddfaError"
    ]
    bases = {node.name: [base.id for base in node.bases if isinstance(base, ast.Name)] for node in classes}
    errors = {name: names for name, names in bases.items() if any(is_builtin_exception(n) for n in names)}
    assert len(errors) >= 8
    assert not {name for name, names in errors.items() if names[0] != "TddfaError"}


def test_one_except_catches_all_and_the_standard_classes_still_do(tmp_path):
    with pytest.raises(tddfa.TddfaError, match="not a readable yml file"):
        tddfa.Config.load("nothing")
    assert issubclass(ConfigError, ValueError)
    assert issubclass(DownloadError, OSError)
    assert DownloadError(2, "text", "file").filename == "file"


def test_a_long_message_keeps_its_start_and_its_end():
    message = str(ConfigError("a.yml: unknown key " + "9" * 5000 + "; known are crop"))
    assert len(message) == 1000
    assert message.startswith("a.yml: unknown key 999") and message.endswith("99; known are crop")
    assert str(DownloadError(2, "text", "file")) == "[Errno 2] text: 'file'"
