"""The compact 3D CNNs that are distilled: C3D's topology with few filters."""

import keras

from models.c3d import DENSE_DROPOUT, build_topology

STUDENT_FILTERS = (16, 32, 32, 32, 64, 64, 128, 128)
STUDENT_DENSE_UNITS = (2048, 1024)
BLOCK_DROPOUT = 0.2


def build_student(
    num_classes: int,
    *,
    input_shape: tuple[int, int, int, int] = (16, 112, 112, 3),
    width: float = 1.0,
    dropout: float = 1.0,
) -> keras.Model:
    """The student of Ullah & Munir (J. Imaging 9(4):82), answering with logits.

    Maps RGB clips `(B, frames, height, width, 3)` with values 0..255 to logits float32 `(B, num_classes)`.
    7,298,405 parameters with 101 classes at 16x112x112 and `width` 1. Dropout 0.2 follows each of the last three
    convolution blocks, 0.5 each dense layer; `dropout` multiplies both. Raises ValueError if the input is too small for
    the five poolings.
    """
    return build_topology(
        num_classes,
        filters=STUDENT_FILTERS,
        dense_units=STUDENT_DENSE_UNITS,
        input_shape=input_shape,
        width=width,
        block_dropout=dropout * BLOCK_DROPOUT,
        dense_dropout=dropout * DENSE_DROPOUT,
        name="student",
    )


def build_student_gap(
    num_classes: int,
    *,
    input_shape: tuple[int, int, int, int] = (16, 112, 112, 3),
    width: float = 1.0,
    dropout: float = 1.0,
) -> keras.Model:
    """The student with global average pooling in place of its two dense layers, answering with logits.

    As `build_student`, with 913,381 parameters (101 classes, `width` 1, any input size), and no dropout but that
    of the blocks. Global average pooling: Lin et al., arXiv:1312.4400, section 3.2.
    """
    return build_topology(
        num_classes,
        filters=STUDENT_FILTERS,
        dense_units=(),
        input_shape=input_shape,
        width=width,
        block_dropout=dropout * BLOCK_DROPOUT,
        dense_dropout=0.0,
        name="student_gap",
    )
