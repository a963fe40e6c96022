"""A teacher: a file with a network or class scores, resolved once per run."""

from dataclasses import dataclass
from pathlib import Path

from utils.base.argument_types import SCORES_SUFFIX
from utils.base.errors import UserError
from utils.base.files import file_fingerprint
from utils.base.options import DistillationOptions
from utils.data.class_scores import ScoreKind
from utils.data.clips import ClipDataset
from utils.networks.recognizer import Recognizer, open_network
from utils.runs.identity import scores_fingerprint
from utils.runs.loading import SplitDataset
from utils.runs.record import Record, read_record
from utils.runs.scores import ScoresFile, read_scores_file
from utils.training.score_files import scores_kind


@dataclass(frozen=True)
class Teacher:
    """A file of a network or of class scores.

    fingerprint: SHA-256 of the file. record: that of NAME.json next to a network, None if there is none.
    channels, input_scale: the input that a network expects, "rgb" and "0..255" if it has a record. scores: whether
    class scores are logits or probabilities, None for a network.
    """

    path: Path
    fingerprint: str
    record: Record | None = None
    channels: str = "rgb"
    input_scale: str = "0..255"
    scores: ScoreKind | None = None

    @property
    def is_network(self) -> bool:
        """False for a file of class scores."""
        return self.path.suffix != SCORES_SUFFIX

    @property
    def about(self) -> Record | ScoresFile | None:
        """What the .json next to it states, None if there is none."""
        return self.record if self.is_network else read_scores_file(self.path, argument="--source")

    @property
    def key(self) -> str:
        """The digest by which trainings know this teacher; see `scores_fingerprint`."""
        return scores_fingerprint(self.fingerprint, self.scores)

    def load(self, dataset: ClipDataset) -> Recognizer:
        """Load the network. Raises UserError if its classes or its clip length do not fit `dataset`."""
        network = open_network(
            self.path, self.record, argument="--source", channels=self.channels, input_scale=self.input_scale
        )
        check_network(network, dataset)
        return network


def resolve_teachers(distillation: DistillationOptions) -> tuple[Teacher, ...]:
    """Return the teachers that `distillation.source` names, each file hashed once.

    `source_channels` and `source_input_scale` apply to networks without a record. Raises UserError if there is no
    teacher, if a record belongs to another file, if the only teacher has a record and conventions are given as well,
    if scores are neither logits nor probabilities (see `kind_of`), or if `teacher_mode` is "live" and the source is not
    one network.
    """
    if not distillation.sources:
        raise UserError("--source must name a teacher unless --alpha is 1, got none")
    teachers = tuple(resolve(path, distillation) for path in distillation.sources)
    if distillation.teacher_mode == "live" and (len(teachers) > 1 or not teachers[0].is_network):
        found = " ".join(map(str, distillation.sources))
        raise UserError(f"--teacher_outputs live must have one model as --source, got {found}")
    return teachers


def resolve(path: Path, distillation: DistillationOptions) -> Teacher:
    fingerprint = file_fingerprint(path)
    if path.suffix == SCORES_SUFFIX:
        kind = scores_kind(path, "--source", distillation.source_scores)
        return Teacher(path, fingerprint, scores=kind)
    record = read_record(path, lambda _: fingerprint, argument="--source")
    conventions = (distillation.source_channels, distillation.source_input_scale)
    if record is None:
        return Teacher(path, fingerprint, None, *conventions)
    if conventions != ("rgb", "0..255") and len(distillation.sources) == 1:
        raise UserError(
            f"--source_channels and --source_input_scale are for models without a record, but {path} has one and "
            "takes RGB 0..255"
        )
    return Teacher(path, fingerprint, record)


def check_teacher(teacher: Teacher, data: SplitDataset) -> None:
    """Raise UserError if the record of a network lists other classes; exchange.py checks score files."""
    if teacher.record is None:
        return
    known, classes = tuple(teacher.record.class_names), data.dataset.class_names
    if len(known) != len(classes):
        raise UserError(f"--source: {teacher.path} has {len(known)} classes but --data has {len(classes)}")
    if known != classes:
        differing = [f"{name} / {found}" for name, found in zip(known, classes) if name != found]
        raise UserError(
            f"--source: {teacher.path} must have the classes of --data in the same order, but {len(differing)} differ "
            f"(teacher / --data: {', '.join(differing[:3])})"
        )


def check_network(network: Recognizer, dataset: ClipDataset) -> None:
    """Raise UserError if a network has another number of classes or takes longer clips than `dataset`."""
    classes, stored = len(dataset.class_names), dataset.frames.shape[1]
    if network.num_classes != classes:
        raise UserError(f"--source: {network.path} has {network.num_classes} classes but --data has {classes}")
    if stored < network.input_shape[0]:
        raise UserError(
            f"--source: {network.path} takes {network.input_shape[0]} frames but the clips of --data have {stored}"
        )
