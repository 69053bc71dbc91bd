"""Weights and activations in fewer bits.

rounding      from numbers to levels and scales
quantise      the precisions of ONNX graphs: quantiser is what they have in common; int8, int4, fp16
convolutions  convolutions in integers
calibration   ranges of activations, measured on real inputs
xnnpack       graphs for ExecuTorch
"""
