"""Distillation targets: teachers, their cached logits, score files of other frameworks."""
