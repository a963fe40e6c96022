"""Answers for videos: whole clips, timelines of long videos, cameras, annotated videos."""
