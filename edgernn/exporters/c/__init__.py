"""The C target: C99 source, generated from the ONNX graph at fixed sizes.

folding    ONNX graphs at fixed sizes, optimised, with the shape of every tensor
operators  a function for each operator: a view, an element-wise expression or a call of a kernel
program    the statements of one graph, with its weights and its scratch memory
packing    the layouts in which kernels read matrices
kernels    the sources of the kernels, for each level of instructions
interface  what callers see: the types of inputs, outputs, weights and states
tokenizer  the tables of a vocabulary
source     the text of header and source file
"""
