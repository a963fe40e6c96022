"""The distillation loss compared with SciPy in float64 and with closed forms, and common mistakes."""

import keras
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from models.distiller import DistillationLoss, Distiller
from models.student import build_student
from tests.gradients import gradient, gradient_norm

TEMPERATURES = [1.0, 3.0, 10.0, 20.0]
ALPHA = 0.1


@pytest.fixture
def batch():
    """Labels `(6,)`, logits of a confident teacher and of an undecided student, float64 `(6, 5)`."""
    rng = np.random.default_rng(7)
    return rng.integers(0, 5, 6), 6 * rng.standard_normal((6, 5)), 2 * rng.standard_normal((6, 5))


def reference_loss(labels, teacher, student, temperature, alpha) -> float:
    """Return Hinton's formula, computed by SciPy in float64."""
    hard = -log_softmax(student, axis=1)[np.arange(len(labels)), labels]
    teacher_log, student_log = log_softmax(teacher / temperature, axis=1), log_softmax(student / temperature, axis=1)
    soft = temperature**2 * (np.exp(teacher_log) * (teacher_log - student_log)).sum(axis=1)
    return float(np.mean(alpha * hard + (1 - alpha) * soft))


def loss_of(labels, teacher, student, temperature, alpha, dtype="float64") -> float:
    loss = DistillationLoss(temperature, alpha, dtype=dtype)
    targets = {"labels": labels, "teacher_logits": teacher.astype(dtype)}
    return float(loss(targets, keras.ops.convert_to_tensor(student.astype(dtype))))


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_loss_equals_the_formula_in_float64(batch, temperature):
    """A student trained with a wrong loss looks like a badly tuned one."""
    assert loss_of(*batch, temperature, ALPHA) == pytest.approx(reference_loss(*batch, temperature, ALPHA), abs=1e-6)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_loss_in_float32_is_close_to_the_formula(batch, temperature):
    """Training is in float32, where rounding errors must stay small against the soft term."""
    expected = reference_loss(*batch, temperature, ALPHA)
    np.testing.assert_allclose(loss_of(*batch, temperature, ALPHA, "float32"), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("unlabelled", [0, 4])
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_gradient_equals_the_closed_form(batch, temperature, unlabelled):
    """dL/dz_s = [alpha (p_s - y) + (1 - alpha) T (p_s(T) - p_t(T))] / B; the factor T is 1 / T if T^2 is missing.

    The first term is 0 for unlabelled clips, which count in B.
    """
    labels, teacher, student = batch
    labels = np.where(np.arange(6) < unlabelled, -1, labels)
    loss, targets = DistillationLoss(temperature, ALPHA, dtype="float64"), {"labels": labels, "teacher_logits": teacher}
    found = gradient(lambda logits: loss(targets, logits), student)
    hard = (softmax(student, axis=1) - np.eye(5)[labels]) * (labels >= 0)[:, None]
    soft = temperature * (softmax(student / temperature, axis=1) - softmax(teacher / temperature, axis=1))
    expected = (ALPHA * hard + (1 - ALPHA) * soft) / len(labels)
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_common_mistakes_give_other_values(batch, temperature):
    """The tests above detect these mistakes only if their error is far above the tolerance."""
    labels, teacher, student = batch
    right = reference_loss(*batch, temperature, ALPHA)
    hard_part = ALPHA * reference_loss(*batch, temperature, 1.0)
    wrong = {
        "softmax twice": reference_loss(labels, softmax(teacher, axis=1), softmax(student, axis=1), temperature, ALPHA),
        "mean over classes": hard_part + (right - hard_part) / 5,
        "sum over the batch": right * len(labels),
        "KL the other way": hard_part
        + reference_loss(labels, student, teacher, temperature, ALPHA)
        - ALPHA * reference_loss(labels, student, teacher, temperature, 1.0),
    }
    if temperature != 1:
        wrong["no T^2"] = hard_part + (right - hard_part) / temperature**2
    for mistake, value in wrong.items():
        assert abs(value - right) > 1e-2, mistake


def test_closed_forms(batch):
    """If teacher and student agree, the hard term remains; T -> infinity gives the distance of centred logits."""
    labels, teacher, student = batch
    same = loss_of(labels, student, student, 4.0, ALPHA)
    assert same == pytest.approx(ALPHA * reference_loss(labels, student, student, 4.0, 1.0), abs=1e-12)
    centred = (teacher - teacher.mean(axis=1, keepdims=True)) - (student - student.mean(axis=1, keepdims=True))
    limit = np.mean((centred**2).sum(axis=1) / (2 * 5))  # Hinton et al., section 2.1
    assert loss_of(*batch, 1e4, 0.0) == pytest.approx(limit, rel=1e-3)
    assert loss_of(*batch, 4.0, 1.0) == pytest.approx(reference_loss(*batch, 4.0, 1.0), abs=1e-12)


def test_loss_is_restored_from_its_configuration():
    """A saved compiled model must keep its temperature and weight."""
    loss = keras.losses.deserialize(
        keras.losses.serialize(DistillationLoss(7.0, 0.3)), custom_objects={"DistillationLoss": DistillationLoss}
    )
    assert (loss.temperature, loss.alpha) == (7.0, 0.3)


@pytest.mark.parametrize(("temperature", "alpha"), [(0.0, 0.1), (-1.0, 0.1), (1.0, -0.1), (1.0, 1.1)])
def test_values_out_of_range_are_rejected(temperature, alpha):
    with pytest.raises(ValueError, match=r"(temperature|alpha) must be"):
        DistillationLoss(temperature, alpha)


@pytest.fixture
def tiny():
    """A tiny student, and 4 clips with labels and teacher logits for 3 classes."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    clips = rng.integers(0, 256, (4, 16, 32, 32, 3), np.uint8)
    targets = {"labels": np.array([0, 1, 2, 0]), "teacher_logits": rng.normal(0, 4, (4, 3)).astype("float32")}
    return build_student(3, input_shape=(16, 32, 32, 3), width=0.1), clips, targets


def test_logged_terms_add_up(tiny):
    """The logged hard and soft losses must be the terms of the loss that is minimised."""
    student, clips, targets = tiny
    distiller = Distiller(student, temperature=5.0, alpha=0.3)
    distiller.compile(jit_compile=False)
    log = distiller.evaluate(clips, targets, batch_size=2, verbose=0, return_dict=True)
    logits = np.asarray(student(clips.astype("float32"), training=False), np.float64)
    teacher = targets["teacher_logits"].astype(np.float64)
    assert log["loss"] == pytest.approx(0.3 * log["hard_loss"] + 0.7 * log["soft_loss"], rel=1e-5)
    assert log["loss"] == pytest.approx(reference_loss(targets["labels"], teacher, logits, 5.0, 0.3), rel=1e-4)
    assert log["accuracy"] == np.mean(logits.argmax(axis=1) == targets["labels"])
    assert log["agreement"] == np.mean(logits.argmax(axis=1) == teacher.argmax(axis=1))


@pytest.mark.parametrize("weights", [None, [0.5, 3.0, 0.75, 1.0]], ids=["plain", "label weights"])
@pytest.mark.parametrize("unlabelled", [0, 3])
def test_logged_terms_are_those_that_are_minimised(tiny, weights, unlabelled):
    """A hard loss without label weights, or averaged over labelled clips only, is not the term that is trained."""
    student, clips, targets = tiny
    targets["labels"] = np.where(np.arange(4) < unlabelled, -1, targets["labels"])
    if weights is not None:
        targets["label_weights"] = np.array(weights, "float32")
    distiller = Distiller(student, temperature=5.0, alpha=0.3)
    distiller.compile(jit_compile=False)
    log = distiller.evaluate(clips, targets, batch_size=4, verbose=0, return_dict=True)
    logits = np.asarray(student(clips.astype("float32"), training=False), np.float64)
    entropy = -log_softmax(logits, axis=1)[np.arange(4), targets["labels"]] * (weights or 1.0)
    assert log["hard_loss"] == pytest.approx(entropy[unlabelled:].sum() / 4, rel=1e-5)
    assert log["loss"] == pytest.approx(0.3 * log["hard_loss"] + 0.7 * log["soft_loss"], rel=1e-5)


def test_a_live_teacher_gives_the_same_loss_as_its_stored_logits(tiny):
    """Live and cached teachers are one method: for the same clips the losses must be equal."""
    student, clips, targets = tiny
    teacher = build_student(3, input_shape=(16, 32, 32, 3), width=0.2)
    stored = {"labels": targets["labels"], "teacher_logits": np.asarray(teacher(clips, training=False))}
    losses = []
    for distiller, y in ((Distiller(student), stored), (Distiller(student, teacher), targets["labels"])):
        distiller.compile(jit_compile=False)
        losses.append(distiller.evaluate(clips, y, verbose=0, return_dict=True)["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_distillation_moves_the_student_to_the_teacher_and_keeps_the_teacher(tiny):
    """Detects a soft term that vanishes because of a second softmax, and a teacher that is trained as well."""
    student, clips, targets = tiny
    teacher = build_student(3, input_shape=(16, 32, 32, 3), width=0.2)
    before = [weight.copy() for weight in teacher.get_weights()]
    distiller = Distiller(student, teacher, temperature=4.0, alpha=0.0)
    distiller.compile(keras.optimizers.Adam(3e-3), jit_compile=False)
    first = distiller.evaluate(clips, targets["labels"], verbose=0, return_dict=True)["soft_loss"]
    distiller.fit(clips, targets["labels"], epochs=30, verbose=0)
    last = distiller.evaluate(clips, targets["labels"], verbose=0, return_dict=True)["soft_loss"]
    assert last < 0.5 * first
    for old, new in zip(before, teacher.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_alpha_one_needs_no_teacher(tiny):
    """The baseline is trained by the same code, from labels only."""
    student, clips, targets = tiny
    distiller = Distiller(student, alpha=1.0)
    distiller.compile(jit_compile=False)
    log = distiller.evaluate(clips, targets["labels"], verbose=0, return_dict=True)
    assert set(log) == {"loss", "hard_loss", "accuracy"}
    assert log["loss"] == pytest.approx(log["hard_loss"], rel=1e-6)


def test_the_soft_term_has_a_gradient(tiny):
    """At the start, the soft gradient must be about as large as the hard gradient, not a hundredth of it."""
    student, clips, targets = tiny

    def norm(alpha):
        loss = DistillationLoss(10.0, alpha)
        return gradient_norm(student, lambda logits: loss(targets, logits), clips.astype("float32"))

    assert norm(0.0) > 0.5 * norm(1.0)


def test_an_unlabelled_clip_has_only_the_soft_term(batch):
    """With few labels, most clips are unlabelled; -1 must not count as class 0."""
    labels, teacher, student = batch
    unlabelled = np.where(np.arange(6) < 2, labels, -1)
    hard = -log_softmax(student, axis=1)[np.arange(2), labels[:2]].sum() / 6  # averaged over the whole batch
    soft = reference_loss(labels, teacher, student, 4.0, 0.0)
    assert loss_of(unlabelled, teacher, student, 4.0, 0.25) == pytest.approx(0.25 * hard + 0.75 * soft, abs=1e-9)


def test_accuracy_counts_only_labelled_clips(tiny):
    student, clips, targets = tiny
    distiller = Distiller(student)
    distiller.compile(jit_compile=False)
    choice = np.asarray(student(clips.astype("float32"), training=False)).argmax(axis=1)
    labels = np.array([choice[0], -1, -1, (choice[3] + 1) % 3])
    log = distiller.evaluate(clips, {**targets, "labels": labels}, verbose=0, return_dict=True)
    assert log["accuracy"] == 0.5


def test_the_accuracy_of_no_labelled_clip_is_unknown(tiny):
    """An accuracy of 0 % would be taken for a student that is always wrong."""
    student, clips, targets = tiny
    distiller = Distiller(student)
    distiller.compile(jit_compile=False)
    log = distiller.evaluate(clips, {**targets, "labels": np.full(4, -1)}, verbose=0, return_dict=True)
    assert np.isnan(log["accuracy"])


def test_without_a_hard_term_labels_have_no_effect(batch):
    """At alpha 0, a cross entropy that is not finite would make the loss NaN, although it is not trained."""
    labels, teacher, student = batch
    targets = {"labels": labels, "teacher_logits": teacher, "label_weights": np.full(6, np.nan)}
    assert np.isnan(float(DistillationLoss(4.0, 0.5, dtype="float64")(targets, student)))
    loss = float(DistillationLoss(4.0, 0.0, dtype="float64")(targets, student))
    assert loss == pytest.approx(reference_loss(labels, teacher, student, 4.0, 0.0), rel=1e-9)
