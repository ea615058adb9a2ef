"""What a method came to, in front.json's record and in words."""

from __future__ import annotations

import pytest

from spikefront.evaluators.evaluation import Evaluation, Stage, State
from spikefront.search.method_outcome import chosen_model, method_sentence
from spikefront.spaces import Candidate

KEY = Candidate().key


def evaluation(state: State, stage: Stage = Stage.FULL) -> Evaluation:
    return Evaluation(Candidate(), state, stage, {"bytes": 10, "accuracy": 0.9})


def test_the_chosen_model_is_the_evaluation_on_all_images():
    full = evaluation(State.INFEASIBLE)
    probed = evaluation(State.PROBED, Stage.DRIFT)
    rejected = evaluation(State.REJECTED, Stage.SUBSET)
    outcome = {"chosen": KEY, "met": False, "finished": True}
    assert chosen_model(outcome, [probed, full, rejected]) is full
    assert chosen_model(outcome, [probed, rejected]) is None
    assert chosen_model({**outcome, "chosen": None}, [full]) is None
    assert chosen_model({**outcome, "chosen": "another"}, [full]) is None
    assert chosen_model(None, [full]) is None


def test_of_two_evaluations_of_one_model_the_feasible_one_is_taken():
    """Under other checks the same model may be judged by other limits."""
    bad, good = evaluation(State.INFEASIBLE), evaluation(State.COMPLETE)
    assert chosen_model({"chosen": KEY}, [bad, good, bad]) is good


@pytest.mark.parametrize(
    ("method", "says"),
    [
        (
            {"chosen": None, "met": False, "finished": True, "nearest_miss": "abc"},
            "psvit chose no model: nothing that it tried keeps the limits; the nearest miss is "
            "abc.",
        ),
        (
            {"chosen": "abc", "met": True, "finished": True, "nearest_miss": None},
            "psvit chose abc, which keeps all limits.",
        ),
        (
            {"chosen": "abc", "met": False, "finished": False},
            "psvit chose abc, which does not keep all limits. It did not come to its end within "
            "the budget.",
        ),
    ],
)
def test_sentences(method: dict, says: str):
    assert method_sentence({"name": "psvit", **method}) == says


def test_figures_of_the_model_are_told():
    model = {"bytes": 12_345, "accuracy_search": 0.91234, "accuracy_test": None}
    method = {"name": "m", "chosen": "k", "met": True, "finished": True, "model": model}
    assert method_sentence(method).endswith("It has 12,345 bytes and 91.23 % on the search images.")
    model["accuracy_test"] = 0.9
    assert method_sentence(method).endswith("search images, 90.00 % on the test images.")
