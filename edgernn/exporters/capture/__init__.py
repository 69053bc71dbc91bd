"""From a module to a graph: what torch's exporters do not do by themselves.

isolation         what torch keeps between exports is forgotten
tracing           traces in which sizes of named axes stay open
fx                graphs of torch.export, and their constants
signature         the contract's names at the borders of an ONNX graph
kernels           types for which onnxruntime has a kernel
naming            the network's names for constants that an exporter computed
parametrizations  weights that are computed from others, computed once
projection        LSTMs with a projection, written out
uses              which matrices are the weights of products
rewrite           an ONNX graph while it is rewritten
"""
