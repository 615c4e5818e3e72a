"""Using networks on videos: prediction, flow, ONNX; no training."""
