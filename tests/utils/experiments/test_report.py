"""The caption of the table: the conditions of the results."""

from utils.experiments.report import frames_text


def test_the_caption_names_the_settings_of_a_frame_student():
    """A table would not say which network, weights and number of frames it compares."""
    arguments = {"student": "frames:MobileNetV2", "student_weights": "imagenet", "mixing": "none", "student_frames": 4}
    assert frames_text(arguments) == "frames:MobileNetV2, weights imagenet, mixing none, 4 frames, "
    assert frames_text(arguments | {"student": "compact3d"}) == ""
