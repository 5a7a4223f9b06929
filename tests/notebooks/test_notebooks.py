"""The notebooks run from a clean start on a small budget, draw what they say, and match their paired .ipynb."""

from __future__ import annotations

import re
from pathlib import Path

import jupytext
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.py"))
DRAWS = re.compile(r"plt\.show\(\)|^figures\.", re.MULTILINE)  # a cell that ends in a picture
SMALL = {"rows": "1000", "budget_s": "5.0"}


def with_parameters(notebook, values: dict[str, str]):
    """The notebook with the assignments of its parameters cell replaced."""
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    for name, value in values.items():
        cell.source, replaced = re.subn(rf"^{name} = \S+", f"{name} = {value}", cell.source, flags=re.MULTILINE)
        assert replaced == 1, f"the parameters cell sets no {name}"
    return notebook


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Programs that one notebook has compiled; the next, on the same plant, need not."""
    return tmp_path_factory.mktemp("compiled")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("default")  # of the notebook's tooling, not of ours
def test_a_notebook_runs_and_draws(path, monkeypatch, compiled):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(compiled))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    notebook = with_parameters(jupytext.read(path), SMALL)
    where = {"metadata": {"path": str(FOLDER)}}  # as Jupyter does
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code" and DRAWS.search(cell.source):
            assert any("image/png" in output.get("data", {}) for output in cell.outputs), cell.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_defines_nothing(path):
    """A definition belongs in the library, where it is tested and reused."""
    assert not re.search(r"^\s*(def|class) ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_paired_notebook_is_the_same_and_was_executed(path):
    """To write it anew: `jupytext --to ipynb <name>.py`, then `jupyter-execute --inplace <name>.ipynb`."""
    text, paired = jupytext.read(path), jupytext.read(path.with_suffix(".ipynb"))
    assert [(c.cell_type, c.source) for c in text.cells] == [(c.cell_type, c.source) for c in paired.cells]
    drawn = [cell for cell in paired.cells if cell.cell_type == "code" and DRAWS.search(cell.source)]
    assert drawn
    assert all(any("image/png" in output.get("data", {}) for output in cell.outputs) for cell in drawn)
