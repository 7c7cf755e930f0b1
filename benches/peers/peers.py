"""Center loss and classifiers of this crate against other libraries, on one machine in one go.

    python3 benches/peers/peers.py                  # everything: prints a table of ratios
    python3 benches/peers/peers.py --quick          # one short round, to see that it runs
    python3 benches/peers/peers.py --only B256      # the cases whose name contains this
    python3 benches/peers/peers.py --scaling        # charts of how the step's cost grows
    python3 benches/peers/peers.py --device wgpu    # this crate on a GPU, torch on CUDA

Installs torch, faiss-cpu and scikit-learn from the package registry into a virtual environment, and mxnet into a second
one, since it needs an older numpy. Every contestant runs in a process of its own with the same number of threads; the
contestants of a case take turns, round by round. Needs Python 3.10 or later, and cargo.
"""

import argparse
import datetime
import json
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

# threadpoolctl comes with scikit-learn too; it tells which kernels faiss computes with.
PACKAGES = ["torch", "pytorch-metric-learning", "faiss-cpu", "scikit-learn", "threadpoolctl"]
# The last release of mxnet uses names that numpy 1.24 took away; numpy 1.23 has wheels for Python 3.8 to 3.11.
MXNET_PACKAGES = ["mxnet==1.9.1", "numpy==1.23.5"]
MXNET_PYTHONS = [(3, 11), (3, 10), (3, 9), (3, 8)]

TIMEOUT = 900
# Values of options that need not be said.
DEFAULTS = {"device": "flex"}
# The full matrix and its gradient take a few times this many values of four bytes.
MAX_FULL_MATRIX = 1 << 28

# The two marks in a document between which `--write` puts a table.
TABLE_MARKS = ("<!-- peers.py --write: from here -->", "<!-- peers.py --write: to here -->")
SHORT_TABLE_MARKS = ("<!-- peers.py --write, short: from here -->", "<!-- peers.py --write, short: to here -->")
# The rows of the short table: what most would use otherwise, at one shape each.
SHORT_TABLE = [
    ("loss B256 C1000 D128", "torch_paper_unique"),
    ("loss B256 C100000 D512", "torch_embedding_dense"),
    ("margin B512 C100000 D128", "torch_arcface"),
    ("k-NN k5 N60000 Q10000 D2", "sklearn_kd_tree"),
    ("k-NN k5 N60000 Q1000 D128", "faiss_flat"),
]

LOSS_SHAPES = [
    (128, 10, 2),
    (256, 1_000, 128),
    (256, 100_000, 512),
    (4_096, 1_000, 512),
    (512, 100_000, 128),
    (512, 1_000_000, 128),
]
# Ours, theirs, what it is. A name with "rust:" is an operation of this crate's own program.
LOSS_PEERS = [
    ("step", "rust:plain_step", "Burn, the same step by plain tensor operations"),
    ("step", "rust:step_deferred", "this crate, deferred checking"),
    ("step", "rust:sum_step", "Burn, the model's step with the sum of the features as the loss"),
    ("sum_step", "torch_sum_step", "torch, the model's step with the sum of the features as the loss"),
    ("step_at_rest", "torch_gather", "torch, gather, without update"),
    ("step", "torch_paper_unique", "torch, gather and paper's update, `unique`"),
    ("step", "torch_paper_counts", "torch, gather and paper's update, `index_add_` of counts"),
    ("step", "torch_embedding_sparse", "torch, sparse `Embedding` and SGD"),
    ("step", "torch_embedding_dense", "torch, dense `Embedding` and SGD"),
    ("step", "torch_full_matrix", "torch, B x C matrix and SGD (KaiyangZhou's formula)"),
    ("step", "mxnet_step", "MXNet, `take` and SGD (the MXNet programs' formula)"),
    ("step", "memory_copy", "a copy of as many bytes as the step has to move"),
]
CONTRASTIVE_SHAPES = [(256, 10_000, 128), (256, 100_000, 128)]
MARGIN_SHAPES = [(128, 10, 2), (256, 1_000, 128), (256, 10_000, 512), (512, 100_000, 128)]
MARGIN_PEERS = [
    ("torch_arcface", "torch, normalize, product, margin by gather and scatter, cross-entropy"),
    ("torch_pml_arcface", "pytorch-metric-learning `ArcFaceLoss`"),
    ("rust:plain_arcface", "Burn, the same by plain tensor operations"),
    ("rust:products", "Burn, three matrix products alone"),
]
DISTANCE_SHAPES = [(128, 10, 2), (256, 1_000, 128), (512, 1_000, 2), (256, 10_000, 128), (128, 100_000, 128)]
# Ours, what of ours, theirs, what it is.
DISTANCE_PEERS = [
    ("squared_distances", "squared", "torch_squared_distances", "torch `cdist`, squared, cross-entropy"),
    ("squared_distances", "squared", "rust:plain_squared_distances", "Burn, the same by plain tensor operations"),
    ("distances", "not squared", "torch_distances", "torch `cdist`, cross-entropy"),
]
KNN_PEERS = [
    ("faiss_flat", "faiss `IndexFlatL2`, search alone"),
    ("torch_knn", "torch `cdist`, `topk` and `mode`"),
    ("rust:plain_knn", "Burn, plain tensor operations"),
]
KNN_CASES = [
    ((60_000, 10_000, 2, 5), [("sklearn_kd_tree", "scikit-learn, k-d tree"), *KNN_PEERS]),
    ((60_000, 1_000, 128, 5), [("sklearn_brute", "scikit-learn, brute force"), *KNN_PEERS]),
    ((60_000, 1_000, 512, 10), [("sklearn_brute", "scikit-learn, brute force"), *KNN_PEERS]),
]
NEAREST_SHAPES = [(10, 10_000, 2)]
# Contestants that compute on the CPU only.
CPU_ONLY = ["mxnet", "memory_copy", "faiss", "sklearn", "numpy", "torch_pml_accuracy_calculator", "torch_lenet"]
RETRIEVAL_SHAPES = [(10_000, 1_000, 128), (60_000, 6_000, 128)]
ROC_SCORES = [10_000_000]
SCORE_NORM_SHAPES = [(5_000, 20_000, 256, 300), (1_000, 20_000, 256, 20_000)]
# The batch size of the MNIST program, and the side of its images: as they are, and as the preset `quick` takes them.
LENET_SHAPES = [(32, 28), (32, 14)]
MNIST_SIDE = 28
LENET_STEPS = 50

# The size that grows, the shapes (B, C, D), and the sizes that are held.
SWEEPS = [
    ("batch_size", [(b, 10_000, 128) for b in (16, 64, 256, 1_024, 4_096, 16_384)], "10 000 classes, 128 columns"),
    ("num_classes", [(256, 10**c, 128) for c in range(1, 7)], "batches of 256, 128 columns"),
    ("feature_dim", [(256, 10_000, d) for d in (2, 8, 32, 128, 512, 2_048)], "batches of 256, 10 000 classes"),
]
SWEEP_OPERATIONS = ["step", "step_deferred", "plain_step", "step_gradient"]
# The gradient of this many centers and 128 columns has 51 MB, and there are a few of them.
MAX_GRADIENT_RULE_CLASSES = 100_000


class Case:
    """Contestants that take turns, and which of them are compared: (what of ours, ours, what of theirs, theirs)."""

    def __init__(self, name, pairs):
        self.name = name
        self.pairs = pairs
        self.contestants = list(dict.fromkeys(run for _, ours, _, theirs in pairs for run in (ours, theirs)))


def cases(device):
    found = cases_on_cpu()
    if device == "flex":
        return found
    on_gpu = [
        Case(case.name, [pair for pair in case.pairs if not pair[3][0].startswith(tuple(CPU_ONLY))]) for case in found
    ]
    return [case for case in on_gpu if case.pairs]


def cases_on_cpu():
    found = []
    for batch_size, num_classes, feature_dim in LOSS_SHAPES:
        numbers = (batch_size, num_classes, feature_dim)
        pairs = [
            (ours.replace("_", " "), (f"rust:{ours}", *numbers), what, (theirs, *numbers))
            for ours, theirs, what in LOSS_PEERS
            if theirs != "torch_full_matrix" or batch_size * num_classes <= MAX_FULL_MATRIX
        ]
        found.append(Case(f"loss B{batch_size} C{num_classes} D{feature_dim}", pairs))
    for numbers in CONTRASTIVE_SHAPES:
        batch_size, num_classes, feature_dim = numbers
        theirs = ("torch_contrastive_center", *numbers)
        pairs = [("step", ("rust:contrastive_step", *numbers), "torch, `cdist`, B x C matrix and SGD", theirs)]
        found.append(Case(f"contrastive-center B{batch_size} C{num_classes} D{feature_dim}", pairs))
    for numbers in MARGIN_SHAPES:
        batch_size, num_classes, feature_dim = numbers
        pairs = [("ArcFace", ("rust:arcface", *numbers), what, (theirs, *numbers)) for theirs, what in MARGIN_PEERS]
        found.append(Case(f"margin B{batch_size} C{num_classes} D{feature_dim}", pairs))
    for numbers in DISTANCE_SHAPES:
        batch_size, num_classes, feature_dim = numbers
        pairs = [
            (f"softmax over distances, {what}", (f"rust:{ours}", *numbers), other, (theirs, *numbers))
            for ours, what, theirs, other in DISTANCE_PEERS
        ]
        found.append(Case(f"distances B{batch_size} C{num_classes} D{feature_dim}", pairs))
    for numbers, peers in KNN_CASES:
        references, queries, feature_dim, k = numbers
        pairs = [("predict", ("rust:knn", *numbers), what, (theirs, *numbers)) for theirs, what in peers]
        found.append(Case(f"k-NN k{k} N{references} Q{queries} D{feature_dim}", pairs))
    for numbers in NEAREST_SHAPES:
        centers, queries, feature_dim = numbers
        pairs = [
            ("predict", ("rust:nearest_center", *numbers), what, (theirs, *numbers, *more))
            for theirs, more, what in [
                ("faiss_flat", [1], "faiss `IndexFlatL2`, search alone"),
                ("sklearn_nearest_centroid", [], "scikit-learn `NearestCentroid`"),
                ("torch_nearest_center", [], "torch `cdist` and `argmin`"),
                ("rust:plain_nearest_center", [], "Burn, plain tensor operations"),
            ]
        ]
        found.append(Case(f"nearest center C{centers} Q{queries} D{feature_dim}", pairs))
    for numbers in RETRIEVAL_SHAPES:
        samples, num_classes, feature_dim = numbers
        theirs = ("torch_pml_accuracy_calculator", *numbers)
        what = "pytorch-metric-learning `AccuracyCalculator` with faiss"
        pairs = [("precision@1, R-precision, MAP@R", ("rust:retrieval", *numbers), what, theirs)]
        found.append(Case(f"retrieval N{samples} C{num_classes} D{feature_dim}", pairs))
    for scores in ROC_SCORES:
        theirs = ("sklearn_roc_curve", scores)
        pairs = [("curve", ("rust:roc_curve", scores), "scikit-learn `roc_curve`, all points", theirs)]
        found.append(Case(f"ROC N{scores}", pairs))
    for numbers in SCORE_NORM_SHAPES:
        rows, cohort, feature_dim, k = numbers
        what = "numpy, products in blocks and `partition`, float32"
        pairs = [("s-norm", ("rust:score_norm", *numbers), what, ("numpy_score_norm", *numbers))]
        found.append(Case(f"score norm N{rows} cohort {cohort} D{feature_dim} k{k}", pairs))
    for batch_size, side in LENET_SHAPES:
        theirs = ("torch_lenet_step", batch_size, side)
        pairs = [("joint, one step", ("mnist:joint", batch_size, side), "torch, the same network and losses", theirs)]
        found.append(Case(f"LeNet++ B{batch_size} {side}x{side}", pairs))
    return found


def say(text):
    print(text, file=sys.stderr, flush=True)


def python_in(venv):
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def runs(command):
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def environment(venv, python, packages, imports):
    """The Python of a virtual environment that has the packages; makes and fills it where it has not."""
    executable = python_in(venv)
    check = [str(executable), "-c", f"import {imports}"]
    if runs(check):
        return executable
    say(f"installing {', '.join(packages)} into {venv}")
    if not executable.exists():
        subprocess.run([*python, "-m", "venv", str(venv)], check=True, stdout=sys.stderr)
    subprocess.run([str(executable), "-m", "pip", "install", *packages], check=True, stdout=sys.stderr)
    subprocess.run(check, check=True, stdout=sys.stderr)
    return executable


def mxnet_environment(venv):
    """As `environment`; None, with a line that says why, where mxnet can't be installed."""
    names = [[sys.executable], *([f"python{major}.{minor}"] for major, minor in MXNET_PYTHONS)]
    version = "import sys; sys.exit(sys.version_info[:2] not in {})".format(MXNET_PYTHONS)
    python = next((name for name in names if runs([*name, "-c", version])), None)
    if python is None and not python_in(venv).exists():
        say("mxnet is left out: its numpy needs Python 3.8 to 3.11, and there is none")
        return None
    try:
        return environment(venv, python, MXNET_PACKAGES, "mxnet")
    except subprocess.CalledProcessError as error:
        say(f"mxnet is left out: {error}")
        return None


def build(device, features):
    """Builds this crate's program for a device, with more features if any are given, and gives its path."""
    arguments = ["bench", "--no-run", "--bench", "peers"]
    # Not `burn/autotune`: README says why.
    all_features = [] if device == "flex" else [device, "burn/fusion"]
    all_features += [features] if features else []
    if all_features:
        arguments += ["--features", ",".join(all_features)]
    return built("peers", *arguments)


def built(name, *arguments):
    """The path of the program `name` that cargo builds with these arguments."""
    cargo = os.environ.get("CARGO", "cargo")
    if shutil.which(cargo) is None:
        sys.exit("cargo is not on the path")
    command = [cargo, *arguments, "--message-format=json-render-diagnostics"]
    say(" ".join(command))
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    for line in output.splitlines():
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact" and message["target"]["name"] == name:
            return Path(message["executable"])
    sys.exit("cargo named no program")


class Runner:
    def __init__(self, binary, python, mxnet_python, seconds, threads, device, mnist=None):
        self.binary = binary
        self.mnist = mnist
        self.device = device
        self.python = python
        self.mxnet_python = mxnet_python
        self.seconds = seconds
        self.threads = threads
        self.variables = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        for name in ["RAYON", "OMP", "OPENBLAS", "MKL"]:
            self.variables[f"{name}_NUM_THREADS"] = str(threads)

    def command(self, contestant):
        name, *numbers = contestant
        numbers = [str(number) for number in numbers]
        if name.startswith("rust:"):
            return [str(self.binary), self.device, name[len("rust:") :], str(self.seconds), *numbers]
        python = self.mxnet_python if name.startswith("mxnet") else self.python
        if python is None:
            return None
        script = str(HERE / "contestants.py")
        torch_device = "cpu" if self.device == "flex" else "cuda"
        return [str(python), script, name, str(self.seconds), str(self.threads), torch_device, *numbers]

    def run(self, contestant):
        """The line that the contestant prints, or {"failed": why}."""
        if contestant[0].startswith("mnist:"):
            return self.run_mnist(*contestant)
        done = self.launch(self.command(contestant))
        return done if isinstance(done, dict) else json.loads(done.splitlines()[-1])

    def run_mnist(self, name, batch_size, side):
        """The time of a step of the MNIST program, from the images per second of three epochs."""
        options = {
            "loss": name[len("mnist:") :],
            "preset": "quick",
            "shrink": MNIST_SIDE // side,
            "batch-size": batch_size,
            "train-size": LENET_STEPS * batch_size,
            "validation-size": batch_size,
            "test-size": batch_size,
            "epochs": 3,
        }
        with tempfile.TemporaryDirectory() as directory:
            run = Path(directory) / "run"
            command = [str(self.mnist), "train", "--out-dir", str(run)]
            command += [word for option, value in options.items() for word in (f"--{option}", str(value))]
            done = self.launch(command if self.mnist else None)
            if isinstance(done, dict):
                return done
            lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        times = [batch_size / json.loads(line)["images_per_second"] * 1e6 for line in lines]
        return {"times": {"median_us": statistics.median(times), "min_us": min(times)}}

    def launch(self, command):
        """What a program prints, or {"failed": why}; a command of None is not installed."""
        if command is None:
            return {"failed": "not installed"}
        try:
            done = subprocess.run(command, env=self.variables, capture_output=True, text=True, timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            return {"failed": f"not done after {TIMEOUT} seconds"}
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines()
            return {"failed": lines[-1] if lines else f"exit code {done.returncode}"}
        return done.stdout


def measure(case, runner, rounds):
    """The rounds of every contestant, who take turns, and how busy the machine was before each round."""
    results = {contestant: [] for contestant in case.contestants}
    others = []
    for number in range(rounds):
        others.append(busy())
        for contestant in case.contestants:
            say(f"{case.name}, round {number + 1} of {rounds}: {contestant[0]}")
            results[contestant].append(runner.run(contestant))
    return results, others


def summary(rounds):
    """The median over the rounds of their medians, and the least time of all; or why there is none."""
    failed = next((result["failed"] for result in rounds if "failed" in result), None)
    if failed is not None:
        return {"failed": failed}
    return {
        "median_us": statistics.median(result["times"]["median_us"] for result in rounds),
        "min_us": min(result["times"]["min_us"] for result in rounds),
    }


def duration(microseconds):
    for unit, size in [("s", 1e6), ("ms", 1e3)]:
        if microseconds >= size:
            return f"{microseconds / size:.3g} {unit}"
    return f"{microseconds:.3g} µs"


def ratio(value):
    """With two digits at least."""
    for least, digits in [(10, 0), (1, 1), (0.1, 2)]:
        if value >= least:
            return f"{value:.{digits}f}"
    return f"{value:.3f}"


def row(case, summaries, pair):
    what, ours, other, theirs = pair
    left, right = summaries[ours], summaries[theirs]
    failed = left.get("failed") or right.get("failed")
    if failed:
        return [case.name, what, "-", other, "-", failed, "-"]
    return [
        case.name,
        what,
        duration(left["median_us"]),
        other,
        duration(right["median_us"]),
        ratio(right["median_us"] / left["median_us"]),
        ratio(right["min_us"] / left["min_us"]),
    ]


def markdown(rows, columns=slice(None)):
    head = ["case", "this crate", "time", "against", "its time", "times as long", "by least times"]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line[columns]) + " |" for line in lines)


def processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def graphics_card(device):
    """The name of the first card, where NVIDIA's driver tells it."""
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader", "--id=0"]
    if device == "flex" or shutil.which(query[0]) is None:
        return ""
    return subprocess.run(query, capture_output=True, text=True).stdout.strip() + ", "


def burn_version():
    lock = (ROOT / "Cargo.lock").read_text(encoding="utf-8").split("[[package]]")
    package = next(entry for entry in lock if '\nname = "burn"\n' in entry)
    return package.split('version = "')[1].split('"')[0]


def rust_version():
    try:
        return subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout.split()[1]
    except (OSError, IndexError):
        return "unknown"


def provenance(arguments, results, others):
    versions = {"Burn": burn_version(), "Rust": rust_version()}
    backend = "unknown"
    for case in results.values():
        for rounds in case.values():
            for result in rounds:
                versions.update(result.get("versions", {}))
                backend = result.get("backend", backend)
    command = "python3 benches/peers/peers.py"
    if "OPENBLAS_CORETYPE" in os.environ:
        command = f"OPENBLAS_CORETYPE={shlex.quote(os.environ['OPENBLAS_CORETYPE'])} {command}"
    if arguments.quick:
        command += " --quick"
    for option in ["device", "rounds", "seconds", "threads", "only"]:
        value = getattr(arguments, option)
        if value != DEFAULTS.get(option):
            command += f" --{option} {shlex.quote(str(value))}"
    known = [percentage for percentage in others if percentage is not None]
    quiet = f"{max(known):.0f} % busy with something else at most" if known else "not known how busy"
    return (
        f"`{command}`, {datetime.date.today()}: {graphics_card(arguments.device)}{processor()}, {os.cpu_count()} cores, "
        f"{arguments.thread_count} threads for each contestant, {quiet} before a round, backend {backend}; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + "."
    )


def growth(all_summaries):
    """The cost of ten times as many classes."""
    few, many = (("rust:step", 512, classes, 128) for classes in (100_000, 1_000_000))
    if few not in all_summaries or many not in all_summaries:
        return ""
    few, many = all_summaries[few], all_summaries[many]
    if "failed" in few or "failed" in many:
        return ""
    factor = many["median_us"] / few["median_us"]
    return f"\n\nThe step with 1 000 000 classes takes {factor:.2f} times as long as with 100 000 (B512, D128)."


def memory(results):
    """The memory of the first step of a softmax, beyond features, class vectors and their gradients."""
    margins = [("rust:arcface", "this crate"), *MARGIN_PEERS[:2]]
    distances = [("rust:squared_distances", "this crate"), ("torch_squared_distances", "torch")]
    cases = [("margin", shape, margins) for shape in MARGIN_SHAPES]
    cases += [("distances", shape, distances) for shape in DISTANCE_SHAPES]
    lines = [["case", "who", "MB beyond features, class vectors and gradients"], ["---"] * 3]
    for kind, (batch_size, num_classes, feature_dim), contestants in cases:
        case = f"{kind} B{batch_size} C{num_classes} D{feature_dim}"
        gradients = (batch_size + num_classes) * feature_dim * 4
        # In a small case this would tell of threads and libraries.
        if case not in results or num_classes < 10_000:
            continue
        for name, what in contestants:
            rounds = results[case][(name, batch_size, num_classes, feature_dim)]
            peaks = [result.get("times", {}).get("peak_bytes") for result in rounds]
            if None not in peaks:
                lines.append([case, what, f"{(statistics.median(peaks) - gradients) / 1e6:.0f}"])
    return "\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) if len(lines) > 2 else ""


def write_tables(path, tables):
    """Puts each table between its two marks of a document."""
    document, written = path.read_text(encoding="utf-8"), False
    for (begin, end), table in tables.items():
        parts = [part for half in document.split(begin) for part in half.split(end)]
        if len(parts) == 3:
            document, written = f"{parts[0]}{begin}\n\n{table}\n\n{end}{parts[2]}", True
    if not written:
        marks = " or ".join(f"one line {begin} and one line {end}" for begin, end in tables)
        sys.exit(f"{path} needs {marks}")
    path.write_text(document, encoding="utf-8")


def ticks():
    """Of all processors since the machine started: at work, and all."""
    with open("/proc/stat", encoding="utf-8") as lines:
        values = [int(value) for value in lines.readline().split()[1:9]]
    idle = values[3] + values[4]
    return sum(values) - idle, sum(values)


def busy():
    """The percentage of the processors' time that something else takes, or None where the system does not tell.

    Threads that wait for each other while one of them has no core can take a hundred times as long.
    """
    try:
        before = ticks()
        time.sleep(1)
        after = ticks()
    except (OSError, ValueError):
        return None
    percentage = 100 * (after[0] - before[0]) / max(after[1] - before[1], 1)
    if percentage > 5:
        say(f"something else keeps {percentage:.0f} % of the processors busy: the times will be wrong")
    return percentage


def compare(arguments, venv, binary):
    all_cases = cases(arguments.device)
    chosen = [case for case in all_cases if arguments.only is None or arguments.only in case.name]
    if not chosen:
        sys.exit(f"no case has {arguments.only!r} in its name; there are: " + ", ".join(c.name for c in all_cases))
    python, mxnet_python = arguments.python, None
    if python is None:
        python = environment(venv, [sys.executable], PACKAGES, "torch, pytorch_metric_learning, faiss, sklearn")
        mxnet_python = mxnet_environment(venv.with_name(f"{venv.name}-mxnet"))
    seconds = arguments.seconds or (0.1 if arguments.quick else 1.0)
    rounds = arguments.rounds or (1 if arguments.quick else 3)
    mnist = None
    if arguments.binary is None and any(name[0].startswith("mnist:") for case in chosen for name in case.contestants):
        mnist = built("mnist", "build", "--release", "-p", "mnist")
    runner = Runner(binary, python, mxnet_python, seconds, arguments.thread_count, arguments.device, mnist)

    results, all_summaries, rows, short_rows, others = {}, {}, [], [], []
    for case in chosen:
        measured, busy_before = measure(case, runner, rounds)
        others += busy_before
        summaries = {contestant: summary(rounds) for contestant, rounds in measured.items()}
        results[case.name] = measured
        all_summaries.update(summaries)
        for pair in case.pairs:
            rows.append(row(case, summaries, pair))
            if (case.name, pair[3][0]) in SHORT_TABLE:
                short_rows.append(rows[-1])
    stamp = provenance(arguments, results, others)
    # The memory of a process says nothing about that of a GPU.
    peaks = memory(results) if arguments.device == "flex" else ""
    text = f"{markdown(rows)}{growth(all_summaries)}{peaks}\n\n{stamp}"
    print(text)
    tables = {TABLE_MARKS: text, SHORT_TABLE_MARKS: f"{markdown(short_rows, slice(0, 6))}\n\n{stamp}"}
    for path in arguments.write:
        write_tables(path, tables)
    if arguments.json:
        raw = {
            name: {" ".join(map(str, contestant)): rounds for contestant, rounds in case.items()}
            for name, case in results.items()
        }
        arguments.json.write_text(json.dumps({"measured": stamp, "cases": raw}, indent=1), encoding="utf-8")


def scale(arguments, venv, binary):
    python = environment(venv, [sys.executable], ["matplotlib"], "matplotlib")
    busy()
    seconds = arguments.seconds or (0.05 if arguments.quick else 0.5)
    runner = Runner(binary, python, None, seconds, arguments.thread_count, arguments.device)
    result = {"sweeps": []}
    for axis, shapes, held in SWEEPS:
        points = []
        for shape in shapes:
            for operation in SWEEP_OPERATIONS:
                if operation == "step_gradient" and shape[1] > MAX_GRADIENT_RULE_CLASSES:
                    continue
                say(f"{operation} B{shape[0]} C{shape[1]} D{shape[2]}")
                done = runner.run((f"rust:{operation}", *shape))
                if "failed" in done:
                    sys.exit(done["failed"])
                sizes = dict(zip(["batch_size", "num_classes", "feature_dim"], shape))
                points.append({"operation": operation, **sizes, "times": done["times"]})
        result["sweeps"].append({"axis": axis, "held": held, "points": points})
    result["machine"] = (
        f"{processor()}, {done['backend']}, {arguments.thread_count} threads, {datetime.date.today()}"
    )
    data = arguments.json or ROOT / "target" / "peers-scaling.json"
    data.write_text(json.dumps(result, indent=1), encoding="utf-8")
    command = [str(python), str(HERE / "charts.py"), str(data), str(arguments.scaling)]
    subprocess.run(command, check=True, env=runner.variables)


def positive(kind):
    def parse(text):
        value = kind(text)
        if value <= 0:
            raise argparse.ArgumentTypeError(f"{text} is not above zero")
        return value

    return parse


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short round: a trial, not a measurement")
    parser.add_argument("--only", metavar="TEXT", help="the cases whose name contains this")
    parser.add_argument("--rounds", type=positive(int), help="how often the contestants take turns (default: 3)")
    parser.add_argument("--seconds", type=positive(float), help="time of a contestant in a round (default: 1)")
    parser.add_argument("--threads", type=positive(int), help="threads of every contestant (default: 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round's numbers there")
    parser.add_argument(
        "--write",
        type=Path,
        metavar="FILE",
        action="append",
        default=[],
        help="put the table, or a short one, into this document too, between its marks; may be given again",
    )
    parser.add_argument(
        "--scaling",
        type=Path,
        metavar="DIR",
        nargs="?",
        const=ROOT / "docs" / "images",
        help="no comparison: time the step over its sizes and draw charts into DIR (default: docs/images)",
    )
    parser.add_argument(
        "--venv",
        type=Path,
        metavar="DIR",
        default=ROOT / "target" / "peers-venv",
        help="the virtual environment (default: target/peers-venv); mxnet's is beside it",
    )
    parser.add_argument(
        "--device",
        choices=["flex", "wgpu"],
        default=DEFAULTS["device"],
        help="what this crate computes on; torch computes on CUDA, but with flex, the CPU (default: flex)",
    )
    parser.add_argument("--features", metavar="LIST", help="more cargo features to build with")
    parser.add_argument(
        "--binary", type=Path, metavar="FILE", help="this crate's program, built before, for machines without cargo"
    )
    parser.add_argument(
        "--python",
        metavar="PROGRAM",
        help="a Python whose packages are there; what is missing has no times (default: a virtual environment)",
    )
    arguments = parser.parse_args()
    arguments.thread_count = arguments.threads or 2

    venv = arguments.venv.absolute()
    venv.parent.mkdir(parents=True, exist_ok=True)
    binary = arguments.binary or build(arguments.device, arguments.features)
    if arguments.scaling is not None:
        scale(arguments, venv, binary)
    else:
        compare(arguments, venv, binary)


if __name__ == "__main__":
    main()
