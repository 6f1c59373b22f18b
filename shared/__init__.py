"""What the edge and the trainer must agree on: words, shapes, wire, trust. Imports nothing of ours."""

import os

# From 1.29 on onnxruntime reports how it is used to its maker, and writes an id of the machine to the user's cache, unless
# this stands before it is first imported. A plant's machines talk to its broker and its store, and to nobody else; every
# part of winnow comes past here before it comes to onnxruntime. Whoever wants to report sets it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
