"""A lowered model is plain enough for ONNX, and computes the same there."""

import pytest
import torch

from qkan import HQKAN, lower

onnx = pytest.importorskip("onnx", reason='needs pip install "qkan-torch[onnx]"')
pytest.importorskip("onnxscript", reason='needs pip install "qkan-torch[onnx]"')


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's exporter and its dependencies warn about themselves
def test_onnx_computes_what_the_model_computes(tmp_path):
    from onnx.reference import ReferenceEvaluator

    model = HQKAN(12, 5, ansatz="pz", encoding="ternary", init=0.5, base_activation="silu").eval()
    x = torch.randn(7, 12, generator=torch.Generator().manual_seed(0))
    path = tmp_path / "model.onnx"
    torch.onnx.export(lower(model), (x,), path, dynamo=True, input_names=["x"], verbose=False)
    (y,) = ReferenceEvaluator(onnx.load(path)).run(None, {"x": x.numpy()})
    torch.testing.assert_close(torch.from_numpy(y), model(x).detach(), rtol=0, atol=1e-5)
