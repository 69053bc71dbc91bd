"""Convert a module to a graph: what torch's exporters do not do by themselves.

isolation         clear what torch caches between exports
tracing           trace modules with variable sizes of named axes
fx                rewrite graphs of torch.export, and their constants
signature         give inputs and outputs of an ONNX graph the contract's names
kernels           insert casts where onnxruntime has no kernel for a type
naming            restore the network's names of constants that an exporter computed
parametrizations  replace parametrised weights by their values
projection        decompose LSTMs with a projection
uses              find the matrices that are weights of products
rewrite           rewrite an ONNX graph
"""
