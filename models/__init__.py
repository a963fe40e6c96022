"""What the networks are: the C3D teacher, the compact student, and the distiller that joins them."""

# The built-in students by name, each as the `module:function` that builds it; names are known without loading Keras.
STUDENTS = {
    "compact3d": "models.student:build_student",
    "compact3d_gap": "models.student:build_student_gap",
}
