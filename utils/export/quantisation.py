"""Quantisation to 8-bit integers after training, calibrated on clips float32 `(T, H, W, 3)`."""

import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from utils.export.conversion import INPUT, describe_onnx, save_openvino


def quantise_onnx(path: Path, quantised: Path, calibration: Iterable[np.ndarray], metadata: str) -> None:
    """Quantise an ONNX file: pairs of QuantizeLinear and DequantizeLinear, with a scale per channel of each kernel.

    Another file is needed in between; it is written next to `quantised`.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Clips(CalibrationDataReader):
        def __init__(self):
            self.clips = iter(calibration)

        def get_next(self):
            clip = next(self.clips, None)
            return None if clip is None else {INPUT: clip[None]}

    prepared = quantised.with_name(f"prepared_{quantised.name}")
    quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
    quantize_static(str(prepared), str(quantised), Clips(), quant_format=QuantFormat.QDQ, per_channel=True)
    prepared.unlink()
    model = onnx.load(str(quantised))
    describe_onnx(model, metadata)
    onnx.save(model, str(quantised))


def quantise_openvino(saved_model: Path, quantised: Path, calibration: Iterable[np.ndarray], metadata: str) -> None:
    """Convert a SavedModel to an OpenVINO model quantised by NNCF: symmetric weights, asymmetric activations."""
    import nncf
    import openvino
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    nncf.set_log_level(logging.ERROR)
    clips = list(calibration)
    model = nncf.quantize(
        openvino.convert_model(str(saved_model)),
        nncf.Dataset(clips, lambda clip: clip[None]),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(clips),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX  # means over clips cut off values
        ),
    )
    save_openvino(model, quantised, metadata)
