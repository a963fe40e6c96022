"""The compact 3D CNNs that are distilled: the topology of C3D with fewer filters."""

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
    """Build the student of Ullah & Munir (J. Imaging 9(4):82), with logits as output.

    The model maps RGB clips `(B, frames, height, width, 3)`, 0..255, to logits float32 `(B, num_classes)`. It has
    7,298,405 parameters with 101 classes, 16x112x112 input and `width` 1. Dropout with rate 0.2 follows each of the
    last three convolution blocks, and with rate 0.5 each dense layer; `dropout` multiplies both rates. Raises
    ValueError if the input is too small for the five poolings.
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
    """Build the student with global average pooling (Lin et al., arXiv:1312.4400, section 3.2) for its dense layers.

    Input and output are as in `build_student`. It has 913,381 parameters with 101 classes and `width` 1, for any input
    size, and dropout only after the convolution blocks.
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
