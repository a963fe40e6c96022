"""The networks: the C3D teacher, the compact students, and the distiller that trains a student."""

# Built-in students by name, as the `module:function` that builds them, so that listing them does not import Keras.
STUDENTS = {
    "compact3d": "models.student:build_student",
    "compact3d_gap": "models.student:build_student_gap",
}
