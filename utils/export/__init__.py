"""Recognisers as files for other runtimes: conversion, quantisation, verification, measurement."""
