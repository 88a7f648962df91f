from __future__ import annotations

import pytest

from light_r1.recipe.options.source import (
    SourceError,
    class_attribute,
    find_definition,
    literal,
    project_modules,
    read_module,
    split_dotted,
)


@pytest.fixture
def package(tmp_path, monkeypatch):
    (tmp_path / "pkg_read").mkdir()
    (tmp_path / "pkg_read" / "__init__.py").write_text(
        "raise ImportError('reading must not import')\nfrom .inner import Base as Other\n"
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .inner import function\n"
    )
    (tmp_path / "pkg_read" / "inner.py").write_text(
        "NAMES: dict[str, int] = {'a': 1}\nCOMPUTED = dict(a=1)\n"
        "class Base:\n    makes = 'model'\n    version = 3\n"
        "class Child(Base):\n    version = 4\n"
        "def function(x, *, y=2): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    read_module.cache_clear()
    return "pkg_read"


def test_dotted_paths_split_at_the_colon_or_the_last_dot():
    assert split_dotted("a.b:C") == ("a.b", "C")
    assert split_dotted("a.b.C") == ("a.b", "C")
    for bad in ("a", ":b", "a:", ""):
        with pytest.raises(SourceError):
            split_dotted(bad)


def test_reexports_lead_to_the_definition_without_import(package):
    module, node = find_definition(package, "Other")
    assert (module.name, node.name) == ("pkg_read.inner", "Base")
    assert find_definition(package, "function")[1].name == "function"


def test_literals_and_inherited_attributes_are_read(package):
    assert literal("pkg_read.inner:NAMES") == {"a": 1}
    assert class_attribute("pkg_read.inner:Child", "version") == 4
    assert class_attribute("pkg_read.inner:Child", "makes") == "model"
    assert class_attribute("pkg_read.inner:Child", "nothing") is None


@pytest.mark.parametrize("dotted", ["pkg_read.inner:COMPUTED", "pkg_read.inner:MISSING", "pkg_read.none:X"])
def test_what_is_no_literal_is_an_error(package, dotted):
    with pytest.raises(SourceError):
        literal(dotted)


def test_a_function_has_no_class_attributes(package):
    with pytest.raises(SourceError, match="not a class"):
        class_attribute("pkg_read.inner:function", "makes")


def test_project_modules_are_those_that_a_module_imports_from_its_own_project(tmp_path, monkeypatch):
    files = {
        "own/__init__.py": "import own.unused_by_gen",
        "own/unused_by_gen.py": "",
        "own/gen.py": "import json\nfrom . import deep\nfrom beside import name\ndef rows():\n    import own.late",
        "own/deep.py": "from own.gen import rows\nimport math\n",
        "own/late.py": "",
        "beside.py": "name = 1\n",
        "lib/site-packages/installed.py": "",
    }
    for file, text in files.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "lib" / "site-packages")
    read_module.cache_clear()
    assert set(project_modules("own.gen")) == {"own.gen", "own.deep", "own.late", "beside"}
    assert set(project_modules("installed")) == {"installed"}
    assert set(project_modules("light_r1.tiny")) >= {"light_r1.tiny"}


def test_what_is_no_python_is_a_source_error_with_its_place(tmp_path, monkeypatch):
    (tmp_path / "torn_module.py").write_text("def rows():\n    return [\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SourceError, match=r"torn_module.py:2: "):
        read_module("torn_module")
    with pytest.raises(SourceError, match="math"):
        read_module("math")
