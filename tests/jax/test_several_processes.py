"""Two processes on this machine train as one does; `make test-jax` runs the quick tests.

Dropout masks, the order of clips and the views are those of one process; sums over a batch are rounded otherwise.
"""

import pytest

from tests.jax.processes import OF_STUDENT, STUDENT, TEACHER, arguments_of, assert_equal_trainings, needs_jax, run

pytestmark = needs_jax


@pytest.fixture(scope="module")
def teacher(arrays, folder):
    """The path of a teacher that one process has trained."""
    run(1, TEACHER, *arguments_of(arrays, "teacher"), cwd=folder)
    return folder / "teacher.keras"


def test_a_teacher_is_that_of_one_process(teacher, arrays, folder):
    """Losses, metrics of an uneven validation set, calibration and weights would depend on the number of machines."""
    printed = run(2, TEACHER, *arguments_of(arrays, "of_two"), cwd=folder)
    assert "saved of_two.keras" in printed
    assert_equal_trainings(folder, "teacher", "of_two")


STUDENTS = {"cached": ["--labels_per_class", "3", "--source", "teacher.keras"]}
SLOWER = {
    "alone": ["--alpha", "1", "--class_weights", "balanced"],
    "live": ["--teacher", "live", "--source", "teacher.keras", "--weight_decay", "0.01"],
}


@pytest.mark.parametrize("kind", [*STUDENTS, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOWER)])
def test_a_student_is_that_of_one_process(teacher, arrays, folder, kind):
    """Few labels and class weights make the loss differ if each process averages its own share."""
    settings = (STUDENTS | SLOWER)[kind]
    for count in (2, 1):  # two first: they compute the teacher's logits
        run(count, STUDENT, *arguments_of(arrays, f"{kind}_{count}", *OF_STUDENT, *settings), cwd=folder)
    assert_equal_trainings(folder, f"{kind}_1", f"{kind}_2")
