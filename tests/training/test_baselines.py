import numpy as np
import pytest

from npseg.training import baselines


def test_majority_and_position_are_learned_and_evaluated(pictures):
    training = pictures([[0, 0, 1], [1, 1, 255]], [[0, 1, 1], [1, 2, 255]], [[0, 0, 2], [2, 1, 255]])
    learned = baselines.learn(training)
    assert learned.majority == 1  # 7 of 15 labelled pixels
    assert learned.position.tolist() == [[0, 0, 1], [1, 1, 1]]  # never labelled: the majority

    validation = pictures([[0, 1, 1], [2, 1, 1]], [[0, 0, 1], [1, 255, 1]])
    result = baselines.evaluate(learned, validation)
    assert result.majority["pixel_accuracy"] == pytest.approx(7 / 11)
    assert result.majority["class_iu"] == {"sky": 0.0, "road": pytest.approx(7 / 11), "car": 0.0}
    assert result.position["pixel_accuracy"] == pytest.approx(9 / 11)
    assert result.position["class_iu"] == {"sky": 3 / 4, "road": 6 / 8, "car": 0.0}


def test_position_is_the_most_frequent_class_of_each_place(pictures):
    maps = np.random.default_rng(0).integers(0, 3, (9, 4, 5))
    learned = baselines.learn(pictures(*maps))
    for row in range(4):
        for column in range(5):
            counts = np.bincount(maps[:, row, column], minlength=3)
            assert learned.position[row, column] == counts.argmax()


def test_position_needs_one_size_in_training(pictures):
    learned = baselines.learn(pictures([[0, 1]], [[1], [1]], [[2, 0]]))
    assert learned.majority == 1
    assert learned.position is None
    result = baselines.evaluate(learned, pictures([[1, 1]]))
    assert result.position is None
    assert result.majority["pixel_accuracy"] == 1.0


@pytest.mark.parametrize("place", [0, 1, 2])
def test_position_needs_the_same_size_in_evaluation(pictures, place):
    learned = baselines.learn(pictures([[0, 1]]))
    maps = [[[0, 1]], [[0, 1]]]
    maps.insert(place, [[1, 0, 0]])
    assert baselines.evaluate(learned, pictures(*maps)).position is None
    del maps[place]
    assert baselines.evaluate(learned, pictures(*maps)).position["mean_iu"] == 1.0
