"""What the networks are: the C3D teacher, the compact student, and the distiller that joins them."""
