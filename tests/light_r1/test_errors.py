from __future__ import annotations

import pickle

import pytest

from data_tools.errors import DataToolsError
from light_r1.errors import EXPLAINED, DataError, LightR1Error, Problem, RecipeError


@pytest.mark.parametrize("kind", [DataToolsError, LightR1Error, ValueError])
def test_one_clause_catches_the_faults_of_data_of_both_packages(kind):
    with pytest.raises(kind, match="row 3"):
        raise DataError("a.jsonl row 3")
    assert issubclass(DataError, EXPLAINED) and issubclass(DataToolsError, EXPLAINED)
    assert not issubclass(RecipeError, DataToolsError)


def test_errors_survive_the_way_to_another_process():
    problem = Problem("r.yaml:3", "dpo.args.beta: is the text 'x'", "a number", "Write it without quotes.")
    assert pickle.loads(pickle.dumps(RecipeError([problem]))).problems == (problem,)
    error = DataToolsError("row 3")
    error.step = "dedup"
    assert pickle.loads(pickle.dumps(error)).step == "dedup"
