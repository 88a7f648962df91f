import random

from data_tools.problems.clusters import Clusters, best_row, different_answers


def test_groups_are_connected_components():
    rng = random.Random(0)
    for _ in range(50):
        pairs = [(rng.randrange(20), rng.randrange(20)) for _ in range(rng.randrange(20))]
        clusters = Clusters(20)
        label = list(range(20))
        for one, other in pairs:
            clusters.join(one, other)
            low, high = sorted((label[one], label[other]))
            label = [low if value == high else value for value in label]
        expected = [[row for row in range(20) if label[row] == value] for value in dict.fromkeys(label)]
        assert clusters.groups() == [group for group in expected if len(group) > 1]


def test_the_copy_that_stays():
    rows = [
        {"source": "b", "solution": "short"},
        {"source": "b", "answer": "3", "solution": "longer"},
        {"source": "a", "answer": "3", "solution": ""},
        {"source": "c", "answer": "3", "solution": "the longest"},
    ]
    assert best_row(rows, ["answer", "solution"], []) == 3
    assert best_row(rows, ["answer", "source", "solution"], ["a", "b"]) == 2
    assert best_row(rows, ["source", "solution"], ["b"]) == 1
    assert best_row(rows, [], []) == 0
    assert best_row(rows, ["answer"], []) == 1


def test_answers_that_differ():
    assert different_answers(["1/2", "0.5", None, "", r"\frac{1}{2}"]) == ["1/2"]
    assert different_answers(["6", "20", "6"]) == ["6", "20"]
    assert different_answers([4, "4.0"]) == ["4"]
