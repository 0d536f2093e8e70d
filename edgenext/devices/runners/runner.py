"""Measures artifacts on the device that it is pushed to: `python3 runner.py job.json FOLDER`.

It is one file that needs Python 3.6, numpy and onnxruntime or LiteRT, and imports nothing else: it
runs where this package is not installed. `FOLDER` holds the job's files by sha256. In the current
folder it appends one event a line to `results.jsonl` (see `edgenext.devices.protocol`) and writes
each artifact's logits to `logits-<sha256>.f32`; begun again there, it goes on with what is missing.

Each artifact has a process of its own, `python3 runner.py --worker job.json FOLDER INDEX`, which
answers JSON lines, so that what it does to memory and caches is its own and its death is survived.
"""

import contextlib
import gc
import json
import math
import os
import platform
import signal
import statistics
import subprocess
import sys
import threading
import time

RESULTS = "results.jsonl"
SENSORS = "sensors.jsonl"
LATENCY_DONE = "latency.done"
MIN_BURST, MAX_BURST = 3, 400
WINDOW = 5
"""Inferences in each of the two medians that are compared before it is warm."""
PROGRESS_S = 2.0
"""Between two events about logits."""
ISA = (("asimddp", "dotprod"), ("sve", "sve"), ("i8mm", "i8mm"))
"""arm64 names of instruction sets in /proc/cpuinfo, from the least to the most use for INT8."""
UNITS = {
    "cpu": [],
    "gpu": ["CUDAExecutionProvider"],
    "tensorrt": ["TensorrtExecutionProvider", "CUDAExecutionProvider"],
    "npu": ["QNNExecutionProvider"],
    "nnapi": ["NnapiExecutionProvider"],
}
"""onnxruntime's providers for a compute unit; the CPU's comes last in each."""
UNIT_OF = {
    "CPUExecutionProvider": "cpu",
    "CUDAExecutionProvider": "gpu",
    "TensorrtExecutionProvider": "tensorrt",
    "QNNExecutionProvider": "npu",
    "NnapiExecutionProvider": "nnapi",
}


class JobError(Exception):
    """The job cannot be done here; the message is for the user."""


# --- what this machine is -----------------------------------------------------------------------


def read(path):
    """A text file of the system's, or nothing."""
    try:
        with open(path, errors="replace") as file:
            return file.read().strip("\0\n ")
    except OSError:
        return ""


def field(text, *names):
    """The first value of the first of these keys in lines of `key : value`."""
    for name in names:
        for line in text.splitlines():
            key, _, value = line.partition(":")
            if key.strip() == name and value.strip():
                return value.strip()
    return ""


def environment(packages):
    """The machine and the software, as `edgenext.schema.Environment` has it."""
    cpuinfo = read("/proc/cpuinfo")
    features = set(field(cpuinfo, "Features").split())
    if platform.machine() in ("x86_64", "AMD64"):
        flags = set(field(cpuinfo, "flags").split())
        known = ("avx2", "avx512f", "avx512_bf16", "avx_vnni", "avx512_vnni", "amx_int8")
        isa = [name for name in known if name in flags]
    else:
        isa = [ours for theirs, ours in ISA if theirs in features]
    tree = "/sys/firmware/devicetree/base/model"
    cpu = read(tree) or field(cpuinfo, "model name", "Hardware", "Model")
    memory = field(read("/proc/meminfo"), "MemTotal").split()
    return {
        "cpu": cpu or platform.machine(),
        "isa": isa,
        "cores": os.cpu_count() or 1,
        "memory_gb": round(int(memory[0]) / 2**20, 1) if memory else 0.0,
        "os": platform.platform(),
        "python": platform.python_version(),
        "packages": packages,
    }


def peak_kib():
    """This process's peak resident memory in KiB, 0 where it cannot be read."""
    words = field(read("/proc/self/status"), "VmHWM").split()
    return int(words[0]) if words else 0


def choose_cpus(threads):
    """The fastest of the CPUs that may be used, as many as threads."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    allowed = sorted(os.sched_getaffinity(0))

    def order(cpu):
        where = "/sys/devices/system/cpu/cpu%d/cpufreq/cpuinfo_max_freq" % cpu
        speed = read(where)
        return -(int(speed) if speed.isdigit() else 0), cpu

    return sorted(sorted(allowed, key=order)[:threads])


def busy_seconds(cpus):
    """Seconds that all cores were busy, and those that were stolen from these, since the start."""
    tick = os.sysconf("SC_CLK_TCK")
    busy = stolen = 0
    for line in read("/proc/stat").splitlines():
        words = line.split()
        if words and words[0].startswith("cpu") and words[0] != "cpu":
            values = [int(v) for v in words[1:9]]
            busy += values[0] + values[1] + values[2] + values[5] + values[6]
            if int(words[0][3:]) in cpus or not cpus:
                stolen += values[7]
    return busy / tick, stolen / tick


def process_seconds(pids):
    """Seconds of CPU that these processes have used."""
    tick, total = os.sysconf("SC_CLK_TCK"), 0
    for pid in pids:
        words = read("/proc/%d/stat" % pid).rpartition(")")[2].split()
        if len(words) > 12:
            total += int(words[11]) + int(words[12])
    return total / tick


def clock_mhz(cpus):
    """The slowest of these CPUs' clocks now, None where the system does not say."""
    found = [read("/sys/devices/system/cpu/cpu%d/cpufreq/scaling_cur_freq" % cpu) for cpu in cpus]
    known = [int(khz) / 1000 for khz in found if khz.isdigit() and int(khz)]
    return min(known) if known else None


# --- one artifact -------------------------------------------------------------------------------


def prepare(images, spec, job):
    """The input of N×H×W×3 uint8 images, in the artifact's layout and type."""
    import numpy as np

    if spec["dtype"] == "uint8" and spec.get("scale") is None:
        return np.ascontiguousarray(images)
    mean = np.asarray(job["mean"], np.float32) * 255
    scale = 1 / (np.asarray(job["std"], np.float32) * 255)
    x = np.ascontiguousarray(((images - mean) * scale).transpose(0, 3, 1, 2))
    if len(spec["shape"]) == 4 and spec["shape"][3] == 3:
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    if spec.get("scale") is None:
        return x.astype(spec["dtype"])
    limits = np.iinfo(spec["dtype"])
    levels = np.round(x / spec["scale"]) + (spec.get("zero_point") or 0)
    return np.clip(levels, limits.min, limits.max).astype(spec["dtype"])


def missing(what, error):
    """The error of a package that cannot be imported, and what may help."""
    # the loader passes over what is for another processor, and then finds nothing
    named = str(error).partition(":")[0]
    wrong = "shared object" in str(error) and os.path.exists(named)
    why = "it is built for another processor: " if wrong else ""
    return JobError(
        "%s cannot be imported on the device (%s%s): install it there for %s, Python %s"
        % (what, why, error, platform.machine(), platform.python_version())
    )


class OnnxModel:
    """An ONNX file in onnxruntime."""

    runtime = "onnxruntime"
    partitions = None

    def __init__(self, path, artifact, threads, profile=None):
        ort = self.library()
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if profile:
            options.enable_profiling = True
            options.profile_file_prefix = profile
        wanted = UNITS[artifact["unit"]]
        known = [p for p in wanted if p in ort.get_available_providers()]
        self._session = ort.InferenceSession(path, options, known + ["CPUExecutionProvider"])
        self.unit = UNIT_OF[self._session.get_providers()[0]]
        self._input, self._output = artifact["input"]["name"], artifact["output"]

    @staticmethod
    def library():
        """onnxruntime, imported."""
        try:
            import onnxruntime
        except (ImportError, OSError) as e:
            raise missing("onnxruntime", e) from e
        return onnxruntime

    def infer(self, prepared):
        """Logits of one prepared batch."""
        return self._session.run([self._output], {self._input: prepared})[0]

    @classmethod
    def placement(cls, path, artifact, threads, images, job):
        """Operators by the unit that ran them, by name: from onnxruntime's own profile."""
        model = cls(path, artifact, threads, profile="placement")
        model.infer(prepare(images, artifact["input"], job))
        profile = model._session.end_profiling()
        with open(profile) as file:
            events = json.load(file)
        os.remove(profile)
        found = {}
        for event in events:
            told = event.get("args", {})
            if event.get("cat") == "Node" and told.get("provider"):
                unit = UNIT_OF.get(told["provider"], told["provider"])
                counts = found.setdefault(unit, {})
                name = told.get("op_name", "?")
                counts[name] = counts.get(name, 0) + 1
        return found


class TfliteModel:
    """A TFLite file in LiteRT with XNNPACK."""

    runtime = "litert"
    unit = "cpu"

    def __init__(self, path, artifact, threads):
        if artifact["unit"] != "cpu":
            raise JobError("LiteRT's Python has no %s: use benchmark_model" % artifact["unit"])
        with open(path, "rb") as file:
            content = file.read()
        self._loaded = self.library().Interpreter(model_content=content, num_threads=threads)
        self._loaded.allocate_tensors()
        self._input = self._loaded.get_input_details()[0]["index"]
        self._output = self._loaded.get_output_details()[0]
        ops = self._loaded._get_ops_details()
        self.partitions = sum(op["op_name"] == "DELEGATE" for op in ops)

    @staticmethod
    def library():
        """LiteRT's interpreter module, imported."""
        try:
            from ai_edge_litert import interpreter
        except (ImportError, OSError) as first:
            try:
                from tflite_runtime import interpreter
            except (ImportError, OSError):
                raise missing("ai-edge-litert", first) from first
        return interpreter

    def infer(self, prepared):
        """Logits of one prepared batch."""
        import numpy as np

        self._loaded.set_tensor(self._input, prepared)
        self._loaded.invoke()
        value = self._loaded.get_tensor(self._output["index"])
        scale, zero = self._output["quantization"]
        if value.dtype == np.float32 or not scale:
            return np.asarray(value, np.float32)
        return (value.astype(np.float32) - zero) * np.float32(scale)

    @classmethod
    def placement(cls, path, artifact, threads, images, job):
        """Everything is on the CPU."""
        return {}


MODELS = {"onnx": OnnxModel, "tensorrt": OnnxModel, "tflite": TfliteModel}


class Worker:
    """One artifact in this process."""

    def __init__(self, job, folder, index):
        self.job, self.artifact = job, job["artifacts"][index]
        self.path = os.path.join(folder, self.artifact["file"])
        self.cpus = choose_cpus(job["threads"])
        if self.cpus:
            try:
                os.sched_setaffinity(0, self.cpus)
            except OSError:
                self.cpus = []
        self.kind = MODELS.get(self.artifact["format"])
        if self.kind is None:
            raise JobError("%s files do not run in Python here" % self.artifact["format"])
        self.kind.library()
        gc.collect()
        with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        self.empty = peak_kib()
        self.model = None

    @property
    def batch(self):
        """The batch it runs: its own, or the one asked for."""
        fixed = self.artifact["input"]["shape"][0]
        return fixed if fixed > 0 else self.job["batch"]

    def noise(self):
        """Seeded noise, batch×H×W×3 uint8, as every artifact of this size gets it."""
        import numpy as np

        shape = self.artifact["input"]["shape"]
        height, width = shape[1:3] if shape[3] == 3 else shape[2:4]
        rng = np.random.RandomState(self.job["seed"])
        return rng.randint(0, 256, (self.batch, height, width, 3)).astype(np.uint8)

    def placement(self):
        """Operators by unit, from a session of its own that ends with this process."""
        threads, noise = self.job["threads"], self.noise()
        return {"units": self.kind.placement(self.path, self.artifact, threads, noise, self.job)}

    def load(self):
        """Load and warm it up."""
        start = time.perf_counter()
        self.model = self.kind(self.path, self.artifact, self.job["threads"])
        load_ms = 1000 * (time.perf_counter() - start)
        prepared = prepare(self.noise(), self.artifact["input"], self.job)
        self.infer = lambda: self.model.infer(prepared)
        first_ms = self.timed()
        gc.collect()
        gc.disable()
        warm = self.warm_up()
        one = max(statistics.median(warm[-WINDOW:]), 1e-6)
        burst = max(MIN_BURST, min(MAX_BURST, math.ceil(self.job["burst_ms"] / one)))
        return {
            "ready": {
                "runtime": self.model.runtime,
                "batch": self.batch,
                "burst": burst,
                "cpus": self.cpus,
                "load_ms": load_ms,
                "first_ms": first_ms,
                "warmup": len(warm),
                "settled": self.settled(warm),
            },
            "unit": self.model.unit,
            "partitions": self.model.partitions,
        }

    def timed(self):
        """Wall time of one inference in ms."""
        start = time.perf_counter()
        self.infer()
        return max(1000 * (time.perf_counter() - start), 1e-6)

    def settled(self, samples):
        """Whether the median of the last inferences is within 2 % of that of those before."""
        if len(samples) < max(self.job["min_warmup"], 2 * WINDOW):
            return False
        before = statistics.median(samples[-2 * WINDOW : -WINDOW])
        last = statistics.median(samples[-WINDOW:])
        return abs(last - before) < self.job["settled"] * before

    def warm_up(self):
        """Times of inferences in ms until they come to rest, or there were enough."""
        samples, end = [], time.monotonic() + self.job["max_warmup_s"]
        while not self.settled(samples):
            late = len(samples) >= self.job["max_warmup"] or time.monotonic() > end
            if late and len(samples) >= self.job["min_warmup"]:
                break
            samples.append(self.timed())
        return samples

    def burst(self, n):
        """Wall times of n inferences in ms, after one that is not counted."""
        self.infer()
        return {"samples_ms": [self.timed() for _ in range(n)]}

    def run_for(self, seconds):
        """How many inferences were made without a pause, and in how many seconds."""
        start, n = time.monotonic(), 0
        while time.monotonic() - start < seconds:
            self.infer()
            n += 1
        return {"seconds": time.monotonic() - start, "inferences": n}

    def logits(self, folder):
        """Yield how many images are done: their logits are appended to the artifact's file."""
        import numpy as np

        if self.model is None:
            self.model = self.kind(self.path, self.artifact, self.job["threads"])
        about = self.job["images"]
        path = os.path.join(folder, about["file"])
        every = np.memmap(path, np.uint8, "r", shape=tuple(about["shape"]))
        name = "logits-%s.f32" % self.artifact["sha256"]
        done, total = 0, len(every)
        with open(name, "ab") as file:
            while done < total:
                chunk = np.asarray(every[done : done + self.batch])
                n = len(chunk)
                chunk = np.resize(chunk, (self.batch,) + chunk.shape[1:])
                part = np.asarray(
                    self.model.infer(prepare(chunk, self.artifact["input"], self.job)), "<f4"
                )
                row = 4 * part.shape[1]
                written = file.tell() // row
                if done == 0 and written >= n:
                    done = written  # by an earlier attempt
                    file.truncate(row * done)
                    file.seek(0, os.SEEK_END)
                    yield done, total
                    continue
                if done == 0:
                    file.truncate(0)
                    file.seek(0)
                file.write(part[:n].tobytes())
                file.flush()
                done += n
                yield done, total
            os.fsync(file.fileno())

    def peak(self):
        """Peak memory less the empty runtime's, in MiB."""
        return {"peak_rss_mb": max(peak_kib() - self.empty, 0) / 1024}


def serve(job_path, folder, index):
    """Answer the parent's lines until they end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a runtime prints goes to stderr

    def answer(value):
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    try:
        with open(job_path) as file:
            job = json.load(file)
        worker = Worker(job, folder, int(index))
        for line in sys.stdin:
            asked, argument = json.loads(line)
            if asked == "logits":
                for done, total in worker.logits(folder):
                    answer({"done": done, "total": total})
            else:
                answer(getattr(worker, asked)(*argument))
    except MemoryError:
        answer({"error": "the device has not enough memory for it"})
    except JobError as e:
        answer({"error": str(e)})
    except Exception as e:  # noqa: BLE001 - whatever a runtime raises is the parent's to report
        answer({"error": "%s: %s" % (type(e).__name__, " ".join(str(e).split())[:500])})
    return 0


# --- all of them --------------------------------------------------------------------------------


class Process:
    """The process of one artifact."""

    def __init__(self, job_path, folder, index, job):
        self.artifact = job["artifacts"][index]
        count = str(job["threads"])
        threads = {"OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count}
        self.process = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), "--worker", job_path, folder, str(index)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            universal_newlines=True,
            env=dict(os.environ, **threads),
        )

    def ask(self, what, *argument):
        """The answer to one question."""
        self.tell(what, *argument)
        return self.hear()

    def tell(self, what, *argument):
        """Ask without waiting."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps([what, argument]) + "\n")
            self.process.stdin.flush()

    def hear(self):
        """The next answer."""
        line = self.process.stdout.readline()
        name = self.artifact["name"]
        if not line:
            code = self.process.wait()
            if code == -signal.SIGKILL:
                raise JobError("%s was killed: the device may have run out of memory" % name)
            how = "signal %d" % -code if code < 0 else "exit code %d" % code
            raise JobError("the process that runs %s ended with %s" % (name, how))
        answer = json.loads(line)
        if "error" in answer:
            raise JobError("%s: %s" % (name, answer["error"]))
        return answer

    def suspend(self, stop):
        """Idle threads spin: they must not while another artifact runs."""
        os.kill(self.process.pid, signal.SIGSTOP if stop else signal.SIGCONT)

    def close(self):
        """End it."""
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Sensors:
    """Lines of the device's sensors, each with the time and what ran, in a file of their own."""

    def __init__(self, argv):
        self.label = "idle"
        self.process = None
        if argv:
            try:
                self.process = subprocess.Popen(
                    argv, stdout=subprocess.PIPE, universal_newlines=True, errors="replace"
                )
            except OSError:
                return
            threading.Thread(target=self.follow, daemon=True).start()

    def follow(self):
        """Write down what comes."""
        with open(SENSORS, "w") as file:
            for line in self.process.stdout:
                row = {"t": time.monotonic(), "during": self.label, "line": line.rstrip("\n")}
                file.write(json.dumps(row) + "\n")
                file.flush()

    def close(self):
        """End the program."""
        if self.process:
            self.process.kill()
            self.process.wait()


class Run:
    """A whole job."""

    def __init__(self, job_path, folder):
        with open(job_path) as file:
            self.job = json.load(file)
        self.job_path, self.folder = job_path, folder
        self.results = open(RESULTS, "a")
        self.cpus = choose_cpus(self.job["threads"])

    def emit(self, event, **values):
        """One line of the results."""
        self.results.write(json.dumps(dict(values, event=event)) + "\n")
        self.results.flush()

    def start(self, index):
        """The process of one artifact."""
        return Process(self.job_path, self.folder, index, self.job)

    def measure(self):
        """Everything that is not done yet."""
        kinds = {MODELS[a["format"]] for a in self.job["artifacts"] if a["format"] in MODELS}
        packages = {"numpy": __import__("numpy").__version__}
        for kind in kinds:
            library = kind.library()
            name = "onnxruntime" if kind is OnnxModel else "ai-edge-litert"
            packages[name] = getattr(library, "__version__", "") or version(library)
        self.emit(
            "start",
            protocol=self.job["protocol"],
            job=self.job["job"],
            environment=environment(packages),
        )
        if not os.path.exists(LATENCY_DONE):
            self.latencies()
            open(LATENCY_DONE, "w").close()
        if self.job.get("images"):
            for index in range(len(self.job["artifacts"])):
                self.logits(index)
        self.emit("done")

    def latencies(self):
        """Load all, then rounds in turn, then the sensors."""
        with contextlib.ExitStack() as stack:
            placed = []
            for index, artifact in enumerate(self.job["artifacts"]):
                if not UNITS.get(artifact["unit"]):
                    placed.append({})  # a CPU leaves nothing to others
                    continue
                process = self.start(index)
                try:
                    placed.append(process.ask("placement")["units"])
                finally:
                    process.close()
            processes = []
            sensors = Sensors(self.job.get("sensor"))
            stack.callback(sensors.close)
            if sensors.process:
                time.sleep(self.job["sensor_s"])
            for index, units in enumerate(placed):
                process = self.start(index)
                stack.callback(process.close)
                told = process.ask("load")
                sha256 = process.artifact["sha256"]
                self.emit("ready", artifact=sha256, units=units, **told)
                processes.append((process, sha256, told["ready"]["burst"]))
                process.suspend(True)
            self.rounds(processes, sensors)
            for process, sha256, _ in processes:
                process.suspend(False)
                self.emit("peak", artifact=sha256, **process.ask("peak"))

    def rounds(self, processes, sensors):
        """Bursts A B C A B C …, and what else the machine did meanwhile."""
        pids = [os.getpid()] + [process.process.pid for process, _, _ in processes]
        start = time.monotonic()
        (busy, stolen), own = busy_seconds(self.cpus), process_seconds(pids)
        clocks, done = [], 0
        while done < self.job["rounds"] or time.monotonic() - start < self.job["sustained_s"]:
            for process, sha256, burst in processes:
                process.suspend(False)
                sensors.label = sha256
                told = process.ask("burst", burst)
                sensors.label = "between"
                process.suspend(True)
                at_s = time.monotonic() - start
                self.emit("round", artifact=sha256, round=done, at_s=at_s, **told)
            clock = clock_mhz(self.cpus)
            if clock:
                clocks.append(clock)
            done += 1
        wall = max(time.monotonic() - start, 1e-9)
        (busy2, stolen2), own2 = busy_seconds(self.cpus), process_seconds(pids)
        cores = os.cpu_count() or 1
        self.emit(
            "conditions",
            cores=cores,
            others=max(busy2 - busy - (own2 - own), 0.0) / wall,
            stolen=max(stolen2 - stolen, 0.0) / (wall * (len(self.cpus) or cores)),
            clocks_mhz=clocks,
        )
        if sensors.process and self.job["sensor_s"]:
            for process, sha256, _ in processes:
                process.suspend(False)
                sensors.label = "load " + sha256
                told = process.ask("run_for", self.job["sensor_s"])
                sensors.label = "between"
                process.suspend(True)
                self.emit("load", artifact=sha256, **told)

    def logits(self, index):
        """Logits of all images, with a word from time to time."""
        process = self.start(index)
        try:
            process.tell("logits")
            sha256, last, done, total = process.artifact["sha256"], 0.0, 0, -1
            while done != total:
                told = process.hear()
                done, total = told["done"], told["total"]
                if done == total or time.monotonic() - last > PROGRESS_S:
                    self.emit("logits", artifact=sha256, done=done, total=total)
                    last = time.monotonic()
        finally:
            process.close()


def version(library):
    """A package's version by the module's name, where Python can tell."""
    try:
        from importlib import metadata

        return metadata.version(library.__name__.partition(".")[0].replace("_", "-"))
    except Exception:  # noqa: BLE001 - older Pythons have no metadata, some packages neither
        return "unknown"


def main(arguments):
    """0 when all was done; else the reason is the last line on stderr, and an event."""
    if arguments[:1] == ["--worker"]:
        return serve(*arguments[1:])
    run = Run(*arguments)
    try:
        run.measure()
    except JobError as e:
        run.emit("error", message=str(e))
        sys.stderr.write("%s\n" % e)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
