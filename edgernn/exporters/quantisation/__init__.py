"""Quantisation of weights and activations.

rounding      compute levels and scales of weights
quantise      quantise ONNX graphs; quantiser is the base class of int8, int4 and fp16
convolutions  static quantisation of convolutions
calibration   calibrate the ranges of activations with real inputs
xnnpack       quantise graphs for ExecuTorch
"""
