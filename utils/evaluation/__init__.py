"""Metrics, intervals, tables and figures of recognisers on test clips."""
