"""Measures artifacts on a device: pushed there as one file, `python3 FILE job.json FOLDER`.

It needs Python 3.6, numpy and onnxruntime, LiteRT or OpenVINO, and imports nothing else: it runs
where the rest of the package is not installed. `FOLDER` holds the job's files by sha256. In the
current folder it appends one event a line to `results.jsonl` (see `edgenext.devices.protocol`) and
writes each artifact's logits to `logits-<sha256>.f32`; started there again, it continues the job.

Each artifact has a process of its own, `python3 FILE --worker job.json FOLDER INDEX`, which answers
in JSON lines: its memory and caches are its own, and the runner survives its death.
"""
