"""An encoder in other people's hands: as a torchvision or timm model, an ONNX graph, or TorchScript."""
