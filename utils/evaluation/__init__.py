"""Tests of models and their report pages: metrics, intervals, figures, sections."""
