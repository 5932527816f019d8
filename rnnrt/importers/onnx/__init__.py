"""ONNX files as graphs, without onnx or protobuf."""
