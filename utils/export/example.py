"""Print the most probable classes of a video: python example.py MODEL VIDEO (MODEL is next to its .json)."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np


def sampled_frames(video, count, total):
    """Return up to `count` frames, a step of `total // count` apart, and how many frames were read."""
    capture, frames, position = cv2.VideoCapture(video), [], 0
    while len(frames) < count and capture.grab():
        if position == len(frames) * max(total // count, 1):
            frames.append(capture.retrieve()[1])
        position += 1
    return frames, position


def read_clip(video, input_shape, stored_shape):
    """Return evenly spaced frames of a video, resized as for the training: RGB 0..255, float32 (1, T, H, W, 3)."""
    (length, height, width, _), (count, stored_height, stored_width, _) = input_shape, stored_shape
    total = int(cv2.VideoCapture(video).get(cv2.CAP_PROP_FRAME_COUNT))
    frames, total = sampled_frames(video, count, total if total >= count else 2**31)
    if len(frames) < count:  # the header of the video does not state the right number of frames
        frames, total = sampled_frames(video, count, total)
    if len(frames) < count:
        sys.exit(f"{video} must be a video of at least {count} frames, found {total}")
    frames = [
        cv2.resize(frames[(2 * k + 1) * count // (2 * length)], (stored_width, stored_height)) for k in range(length)
    ]
    resize = cv2.INTER_AREA if height <= stored_height and width <= stored_width else cv2.INTER_LINEAR
    frames = [
        cv2.cvtColor(cv2.resize(frame, (width, height), None, 0, 0, resize), cv2.COLOR_BGR2RGB) for frame in frames
    ]
    return np.float32([frames])


def run(model, clip):
    """Return the output of an exported model for one clip: float32 (C,)."""
    if model.endswith(".onnx"):
        import onnxruntime

        return onnxruntime.InferenceSession(model).run(None, {"clip": clip})[0][0]
    if model.endswith(".xml"):
        import openvino

        return openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(clip)[0][0]
    if model.endswith(".tflite"):
        from ai_edge_litert.interpreter import Interpreter

        return next(iter(Interpreter(model).get_signature_runner()(clip=clip).values()))[0]
    import tensorflow as tf

    return next(iter(tf.saved_model.load(model).signatures["serving_default"](clip=tf.constant(clip)).values()))[
        0
    ].numpy()


model, video = Path(sys.argv[1]), sys.argv[2]
about = model.with_name(f"{model.stem.removesuffix('_saved_model')}.json")
about = about if about.exists() else about.with_name(f"{about.stem.removesuffix('_int8')}.json")
record = json.loads(about.read_text())
scores = run(str(model), read_clip(video, record["input"]["shape"], record["stored_shape"] or record["input"]["shape"]))
if record["output"] == "logits":
    scores = np.exp((scores - scores.max()) / record["temperature"])
    scores /= scores.sum()
if scores.max() < (record["threshold"] or 0):
    print("no action, the highest probability is below the threshold:")
for number in np.argsort(-scores)[:3]:
    print(f"{100 * scores[number]:5.1f} %  {record['class_names'][number] if record['class_names'] else number}")
