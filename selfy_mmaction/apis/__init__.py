"""Using networks on videos: prediction, flow, ONNX; nothing is trained."""
