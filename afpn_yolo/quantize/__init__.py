"""An exported model in 8-bit integers, by ONNX Runtime's own tools.

What loses accuracy stays in float: the last convolutions of the detection head and the decoding of
its boxes. They are found by the graph's structure.
"""
