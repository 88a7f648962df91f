from __future__ import annotations

from pathlib import Path

import pytest

import data_tools
from data_tools.engine.source_file import source_file

PACKAGE = Path(data_tools.__file__).parent


@pytest.mark.parametrize(
    ("module", "file"),
    [
        ("data_tools", PACKAGE / "__init__.py"),
        ("data_tools.engine", PACKAGE / "engine" / "__init__.py"),
        ("data_tools.engine.pool", PACKAGE / "engine" / "pool.py"),
        ("math", None),
        ("no_such_package.inner", None),
        ("data_tools.nothing", None),
        ("", None),
    ],
)
def test_the_source_of_a_module_is_found(module, file):
    assert source_file(module) == file


def test_packages_on_the_way_are_not_imported(tmp_path, monkeypatch):
    (tmp_path / "raising_package").mkdir()
    (tmp_path / "raising_package" / "__init__.py").write_text("raise ImportError('not to be run')\n")
    (tmp_path / "raising_package" / "inner.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    assert source_file("raising_package.inner") == tmp_path / "raising_package" / "inner.py"
