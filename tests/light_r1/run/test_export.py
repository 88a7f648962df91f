from __future__ import annotations

import pytest
import torch

from light_r1.cli import main
from light_r1.errors import RunDirError, StageError
from light_r1.models.load import is_adapter, load_model
from light_r1.run.export import export, model_of
from tests.light_r1.stages.test_handover import LORA, base, finished, flip_byte, lose_adapter  # noqa: F401

dtypes = pytest.mark.parametrize("dtype", [None, "bfloat16"])


@dtypes
def test_an_adapter_becomes_a_whole_model_that_needs_nothing_else(base, tmp_path, dtype):  # noqa: F811
    job = finished(tmp_path / "run", base, lora=LORA)
    to = tmp_path / "whole"
    assert main(["export", str(job.dir.path), str(to), *(["--dtype", dtype] if dtype else [])]) == 0
    assert not is_adapter(to)
    want = load_model(job.dir.output / "model", dtype=dtype or "float32").state_dict()
    (tmp_path / "start").rename(tmp_path / "gone")
    found = load_model(to, dtype="auto").state_dict()
    for name, value in want.items():
        assert torch.allclose(found[name], value, atol=1e-6 if dtype is None else 0.01), name


def test_a_model_that_is_not_the_one_that_was_trained_is_not_exported(base, tmp_path):  # noqa: F811
    job = finished(tmp_path / "run", base, lora=LORA)
    flip_byte(job.dir.output / "model")
    with pytest.raises(StageError, match="other bytes"):
        export(job.dir.path, tmp_path / "whole")
    job.dir.manifest_json.unlink()
    lose_adapter(job.dir.output / "model")
    with pytest.raises(StageError, match="not the model that was trained"):
        export(job.dir.output / "model", tmp_path / "whole")
    assert not (tmp_path / "whole").exists()


def test_a_stage_that_is_not_there_or_not_done_is_named(base, tmp_path):  # noqa: F811
    job = finished(tmp_path / "run", base)
    job.dir.begin({"type": "sft"})
    with pytest.raises(RunDirError, match="Did you mean stage"):
        model_of(job.dir.path.with_name("stagee"))
    job.dir.manifest_json.unlink()
    with pytest.raises(RunDirError, match="is not done"):
        model_of(job.dir.path)
