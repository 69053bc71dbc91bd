"""Pipelines, one file for each task: a file becomes the inputs of a model, and its outputs a result."""
