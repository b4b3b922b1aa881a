"""audioctl: daily archives of short recordings in, transcripts and Opus copies out."""

import os

__version__ = "0.1.0"

# From 1.29 on ONNX Runtime, which finds the speech, reports its use to its maker and writes to the home folder unless
# this is set before it is loaded. https://github.com/microsoft/onnxruntime/blob/main/docs/Privacy.md
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
