"""Export a model as sentence-transformers' users do: ONNX, OpenVINO, and both in int8.

Runs in the peers' environment; given a folder with the model and one with train.jsonl, the calibration texts.
"""

from __future__ import annotations

import os
import sys
import warnings


def main(model: str, texts: str) -> None:
    """Write onnx/ and openvino/ into the model's folder; `texts` calibrate the static quantisation."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["DO_NOT_TRACK"] = "1"
    warnings.simplefilter("ignore")
    from sentence_transformers import (
        SentenceTransformer,
        export_dynamic_quantized_onnx_model,
        export_static_quantized_openvino_model,
    )

    onnx = SentenceTransformer(model, backend="onnx", device="cpu")
    onnx.save_pretrained(model)
    export_dynamic_quantized_onnx_model(onnx, "avx512_vnni", model)
    openvino = SentenceTransformer(model, backend="openvino", device="cpu")
    openvino.save_pretrained(model)
    export_static_quantized_openvino_model(
        openvino,
        None,
        model,
        dataset_name=texts,
        dataset_config_name="default",
        dataset_split="train",
        column_name="sentence",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
