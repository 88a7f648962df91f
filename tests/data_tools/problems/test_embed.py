import numpy as np
import pytest

from data_tools.errors import DataToolsError
from data_tools.problems.embed import MODEL, embed, load_encoder

TEXTS = [
    "Find $x$ if $2x=6$.",
    "A train leaves at noon. " * 30,
    "",
    "Find $x$ if $2x=6$.",
    "How many primes are below 1000?",
]


@pytest.fixture(scope="module")
def reference():
    return load_encoder(MODEL).encode(TEXTS, normalize_embeddings=True)


@pytest.mark.parametrize(("bf16", "error"), [(False, 1e-5), (True, 0.005)])
def test_equal_to_plain_encode(reference, bf16, error):
    found = embed(TEXTS, bf16=bf16, batch_tokens=300)
    assert found.dtype == np.float32
    assert np.abs(found @ found.T - reference @ reference.T).max() <= error
    assert np.sum(found * reference, axis=1).min() >= 1 - error


def test_no_texts():
    assert embed([]).shape == (0, 384)


def test_a_model_that_is_not_there():
    with pytest.raises(DataToolsError, match="no/such-model"):
        embed(["x"], model="no/such-model")
