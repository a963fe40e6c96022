"""The networks: the C3D teacher, the compact students, and the distiller that trains a student."""

# Built-in students by name, as the `module:function` that builds them, so that listing them does not import Keras.
STUDENTS = {
    "compact3d": "models.student:build_student",
    "compact3d_gap": "models.student:build_student_gap",
}
# Image networks of the students frames:NAME (models/frames.py); all but the first are from keras.applications.
LITE0 = "efficientnet_lite0"
BACKBONES = (
    LITE0,
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Small",
    "MobileNetV3Large",
    "EfficientNetV2B0",
    "ResNet50V2",
)
MIXINGS = ("shift", "convolution", "none")
