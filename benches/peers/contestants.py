"""The other side of peers.py: times one operation of another library and prints one line of JSON.

    python contestants.py NAME SECONDS THREADS TORCH_DEVICE NUMBERS..

The loops are those that a user of each library would write; nothing of the libraries' own programs is in them. The steps of
a loss are those of a model that the library's optimizer steps, as on the Rust side. Data are uniform from 0 to 1, as the Rust
side's are. Whatever imports a library is inside the function that needs it.
"""

import functools
import inspect
import json
import platform
import sys
import time

ALPHA = 0.5
# ArcFace's, in radians, and what its cosines are multiplied by.
MARGIN = 0.5
SCALE = 64
# At least so many repetitions, unless they take longer than PATIENCE, in seconds.
MIN_REPETITIONS = 3
PATIENCE = 20
MAX_REPETITIONS = 100_000
# A block of so many bytes is allocated and freed before all else, as a network's activations are: main.rs says why.
FREED_BEFORE = 16 << 20
# torch compares so many pairs of query and reference at one time: 64 MiB of distances.
MAX_PAIRS = 1 << 24


def torch_training(batch_size, num_classes, feature_dim, add_centers, forward):
    """A step of a module that SGD steps as a whole: `forward`'s loss and the sum of a parameter in place of a network."""
    import torch

    torch.manual_seed(1)
    features = torch.rand(batch_size, feature_dim, requires_grad=True)
    labels = torch.randint(num_classes, (batch_size,))
    model = torch.nn.Module()
    add_centers(torch, model, num_classes, feature_dim)
    model.network = torch.nn.Parameter(torch.rand(feature_dim))
    optimizer = torch.optim.SGD(model.parameters(), lr=ALPHA)

    def step():
        features.grad = None
        optimizer.zero_grad()
        (forward(torch, model.centers, features, labels) + model.network.sum()).backward()
        optimizer.step()

    return step


def centers_buffer(torch, model, num_classes, feature_dim):
    """Centers without gradients."""
    model.register_buffer("centers", torch.rand(num_classes, feature_dim))


def centers_parameter(torch, model, num_classes, feature_dim):
    model.centers = torch.nn.Parameter(torch.rand(num_classes, feature_dim))


def half_mean_square(differences):
    return 0.5 * differences.square().sum(1).mean()


def torch_sum_step(*shape):
    """The sum of the features in place of center loss: the share of autograd and SGD."""
    return torch_training(*shape, centers_buffer, lambda torch, centers, features, labels: features.sum())


def torch_gather(*shape):
    """Loss and gradient of the features; the centers rest."""

    def forward(torch, centers, features, labels):
        return half_mean_square(features - centers[labels])

    return torch_training(*shape, centers_buffer, forward)


def paper(torch, centers, features, labels, divisors):
    """Center loss, and the paper's update of the centers."""
    differences = features - centers[labels]
    loss = half_mean_square(differences)
    with torch.no_grad():
        rows = ALPHA * differences / divisors(torch, len(centers), labels).unsqueeze(1)
        centers.index_add_(0, labels, rows)
    return loss


def unique_divisors(torch, num_classes, labels):
    """Each sample's class is counted among those of the batch."""
    _, place, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    return 1 + counts[place]


def divisors_of_counts(torch, num_classes, labels):
    """Every class is counted."""
    counts = torch.zeros(num_classes).index_add_(0, labels, torch.ones(len(labels)))
    return 1 + counts[labels]


def torch_paper_unique(*shape):
    return torch_training(*shape, centers_buffer, functools.partial(paper, divisors=unique_divisors))


def torch_paper_counts(*shape):
    return torch_training(*shape, centers_buffer, functools.partial(paper, divisors=divisors_of_counts))


def torch_lenet_step(batch_size, side):
    """A step of LeNet++ with two features, softmax and center loss, by Adam, as the MNIST program has it."""
    import torch
    from torch import nn

    def block(inputs, outputs):
        first, second = nn.Conv2d(inputs, outputs, 5, padding=2), nn.Conv2d(outputs, outputs, 5, padding=2)
        return first, nn.LeakyReLU(0.01), second, nn.LeakyReLU(0.01), nn.MaxPool2d(2)

    torch.manual_seed(1)
    blocks = block(1, 32) + block(32, 64) + block(64, 128)
    network = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(128 * (side // 8) ** 2, 2, bias=False))
    classes, centers = nn.Linear(2, 10, bias=False), torch.rand(10, 2)
    optimizer = torch.optim.Adam([*network.parameters(), *classes.parameters()])
    images, labels = torch.rand(batch_size, 1, side, side), torch.randint(10, (batch_size,))

    def step():
        optimizer.zero_grad()
        features = network(images)
        softmax = nn.functional.cross_entropy(classes(features), labels)
        (softmax + 0.1 * paper(torch, centers, features, labels, unique_divisors)).backward()
        optimizer.step()

    return step


def torch_embedding(*shape, sparse):
    def centers_embedding(torch, model, num_classes, feature_dim):
        model.centers = torch.nn.Embedding(num_classes, feature_dim, sparse=sparse)
        torch.nn.init.uniform_(model.centers.weight)

    def forward(torch, centers, features, labels):
        return half_mean_square(features - centers(labels))

    return torch_training(*shape, centers_embedding, forward)


def torch_embedding_dense(*shape):
    """Centers in an embedding, moved by SGD along their dense gradient."""
    return torch_embedding(*shape, sparse=False)


def torch_embedding_sparse(*shape):
    """Centers in an embedding with sparse gradients, moved by SGD."""
    return torch_embedding(*shape, sparse=True)


def torch_full_matrix(*shape):
    """All squared distances, those to other classes' centers masked out, and SGD: KaiyangZhou's formula."""

    def forward(torch, centers, features, labels):
        squares = features.square().sum(1, keepdim=True) + centers.square().sum(1)
        squared = torch.addmm(squares, features, centers.t(), alpha=-2)
        own = labels.unsqueeze(1) == torch.arange(len(centers))
        return (squared * own).clamp(min=1e-12, max=1e12).sum() / len(features)

    return torch_training(*shape, centers_parameter, forward)


def torch_contrastive_center(*shape):
    """Contrastive-center loss from all squared distances, and SGD."""

    def forward(torch, centers, features, labels):
        squared = torch.cdist(features, centers).square()
        own = squared.gather(1, labels.unsqueeze(1)).squeeze(1)
        return 0.5 * (own / (squared.sum(1) - own + 1)).mean()

    return torch_training(*shape, centers_parameter, forward)


def torch_margin(batch_size, num_classes, feature_dim, loss_of):
    """Value and both gradients of a loss with one vector per class, from normal features and vectors."""
    import torch

    torch.manual_seed(1)
    features = torch.randn(batch_size, feature_dim, requires_grad=True)
    labels = torch.randint(num_classes, (batch_size,))
    parameters, loss = loss_of(torch, num_classes, feature_dim)

    def forward_backward():
        for parameter in [features, *parameters]:
            parameter.grad = None
        loss(features, labels).backward()

    return forward_backward


def torch_arcface(*shape):
    """The straightforward way: normalize, matrix product, the margin by gather and scatter, cross-entropy."""

    def loss_of(torch, num_classes, feature_dim):
        weight = torch.randn(num_classes, feature_dim, requires_grad=True)
        functional = torch.nn.functional

        def loss(features, labels):
            cosines = functional.normalize(features) @ functional.normalize(weight).t()
            labels = labels.unsqueeze(1)
            own = cosines.gather(1, labels).clamp(-1 + 1e-7, 1 - 1e-7)
            scores = cosines.scatter(1, labels, (own.acos() + MARGIN).cos())
            return functional.cross_entropy(SCALE * scores, labels.squeeze(1))

        return [weight], loss

    return torch_margin(*shape, loss_of)


def torch_pml_arcface(*shape):
    """pytorch-metric-learning's."""

    def loss_of(torch, num_classes, feature_dim):
        from pytorch_metric_learning.losses import ArcFaceLoss

        loss = ArcFaceLoss(num_classes, feature_dim, margin=MARGIN * 180 / torch.pi, scale=SCALE)
        loss.to(torch.get_default_device())
        return loss.parameters(), loss

    return torch_margin(*shape, loss_of)


def torch_over_distances(batch_size, num_classes, feature_dim, scores_of):
    """Value and both gradients of cross-entropy over distances, from normal centers and features about them."""
    import torch

    torch.manual_seed(1)
    centers = torch.randn(num_classes, feature_dim, requires_grad=True)
    labels = torch.randint(num_classes, (batch_size,))
    features = (centers.detach()[labels] + torch.randn(batch_size, feature_dim)).requires_grad_()

    def forward_backward():
        features.grad = centers.grad = None
        scores = scores_of(torch.cdist(features, centers))
        torch.nn.functional.cross_entropy(scores, labels).backward()

    return forward_backward


def torch_squared_distances(*shape):
    """The straightforward way: `cdist`, squared, times minus one half."""
    return torch_over_distances(*shape, lambda distances: -0.5 * distances.square())


def torch_distances(*shape):
    return torch_over_distances(*shape, lambda distances: -distances)


def mxnet_training(batch_size, num_classes, feature_dim, forward):
    """A step of centers and of a parameter in place of a network, whose sum is added to the loss, by gluon's SGD."""
    import mxnet
    from mxnet import autograd, gluon, nd

    mxnet.random.seed(1)
    features = nd.random.uniform(shape=(batch_size, feature_dim))
    features.attach_grad()
    labels = nd.random.randint(0, num_classes, shape=(batch_size,))
    centers = gluon.Parameter("centers", shape=(num_classes, feature_dim))
    network = gluon.Parameter("network", shape=(feature_dim,))
    parameters = {"centers": centers, "network": network}
    for parameter in parameters.values():
        parameter.initialize(mxnet.init.Uniform(1.0))
    trainer = gluon.Trainer(parameters, "sgd", {"learning_rate": ALPHA})

    def step():
        losses = forward(nd, autograd, centers, features, labels)
        with autograd.record():
            total = network.data().sum()
        autograd.backward([losses, total])
        trainer.step(batch_size)
        for value in [features.grad, centers.data(), network.data()]:
            value.wait_to_read()

    return step


def mxnet_step(*shape):
    """Losses divided by the batch histogram and gluon's SGD: the MXNet programs' formula."""
    import numpy

    def forward(nd, autograd, centers, features, labels):
        num_classes, _ = centers.shape
        histogram = numpy.bincount(labels.asnumpy(), minlength=num_classes)
        counts = nd.take(nd.array(histogram), labels)
        with autograd.record():
            differences = features - nd.take(centers.data(), labels)
            return 0.5 * nd.square(differences).sum(axis=1) / counts

    return mxnet_training(*shape, forward)


def memory_copy(batch_size, num_classes, feature_dim):
    """A copy that reads and writes, together, the bytes that a step has to move at least: features and centers are
    read, gradient and centers are written, labels are read."""
    import numpy

    moved = 4 * 4 * batch_size * feature_dim + 8 * batch_size
    source = numpy.ones(moved // 2, dtype=numpy.uint8)
    target = numpy.zeros_like(source)
    return lambda: numpy.copyto(target, source)


def points(rows, feature_dim, seed):
    import numpy

    return numpy.random.default_rng(seed).random((rows, feature_dim), dtype=numpy.float32)


def class_labels(samples):
    import numpy

    return numpy.arange(samples) % 10


def sklearn_knn(references, queries, feature_dim, k, threads, algorithm):
    from sklearn.neighbors import KNeighborsClassifier

    classifier = KNeighborsClassifier(k, algorithm=algorithm, n_jobs=threads)
    classifier.fit(points(references, feature_dim, 1), class_labels(references))
    batch = points(queries, feature_dim, 2)
    return lambda: classifier.predict(batch)


def sklearn_kd_tree(references, queries, feature_dim, k, threads):
    return sklearn_knn(references, queries, feature_dim, k, threads, "kd_tree")


def sklearn_brute(references, queries, feature_dim, k, threads):
    return sklearn_knn(references, queries, feature_dim, k, threads, "brute")


def faiss_flat(references, queries, feature_dim, k, threads):
    """The search alone, without votes."""
    import faiss

    faiss.omp_set_num_threads(threads)
    index = faiss.IndexFlatL2(feature_dim)
    index.add(points(references, feature_dim, 1))
    batch = points(queries, feature_dim, 2)
    return lambda: index.search(batch, k)


def torch_knn(references, queries, feature_dim, k):
    """Distances, the k smallest and the most frequent label, in chunks of queries."""
    import torch

    stored = torch.tensor(points(references, feature_dim, 1))
    labels = torch.tensor(class_labels(references))
    chunks = torch.tensor(points(queries, feature_dim, 2)).split(max(1, MAX_PAIRS // references))

    def predict():
        answers = []
        for chunk in chunks:
            nearest = torch.cdist(chunk, stored).topk(k, largest=False).indices
            answers.append(labels[nearest].mode(1).values)
        return torch.cat(answers)

    return predict


def sklearn_nearest_centroid(centers, queries, feature_dim):
    from sklearn.neighbors import NearestCentroid

    classifier = NearestCentroid().fit(points(centers, feature_dim, 1), range(centers))
    batch = points(queries, feature_dim, 2)
    return lambda: classifier.predict(batch)


def torch_nearest_center(centers, queries, feature_dim):
    import torch

    stored = torch.tensor(points(centers, feature_dim, 1))
    batch = torch.tensor(points(queries, feature_dim, 2))
    return lambda: torch.cdist(batch, stored).argmin(1)


def torch_pml_accuracy_calculator(samples, num_classes, feature_dim):
    """The values that need no more neighbors than a class has samples; by default it searches with faiss."""
    import faiss  # noqa: F401, for its version
    import torch
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    torch.manual_seed(1)
    labels = torch.arange(samples) % num_classes
    features = torch.rand(num_classes, feature_dim)[labels] + torch.rand(samples, feature_dim) / 2
    include = ("precision_at_1", "r_precision", "mean_average_precision_at_r")
    calculator = AccuracyCalculator(include=include, k="max_bin_count", device=torch.device("cpu"))
    return lambda: calculator.get_accuracy(features, labels)


def sklearn_roc_curve(scores):
    import numpy
    from sklearn.metrics import roc_curve

    generator = numpy.random.default_rng(1)
    values = generator.random(scores, dtype=numpy.float32)
    same = generator.random(scores) < 0.5
    return lambda: roc_curve(same, values, drop_intermediate=False)


def numpy_score_norm(rows, cohort, feature_dim, k):
    """Ten trials a row; the products of as many rows at one time as keep them within MAX_PAIRS."""
    import numpy

    generator = numpy.random.default_rng(1)
    sides = [generator.standard_normal((count, feature_dim), dtype=numpy.float32) for count in (rows, rows, cohort)]
    trials = numpy.arange(10 * rows)
    trials = trials % rows, trials * 7 % rows

    def unit(side):
        return side / numpy.linalg.norm(side, axis=1, keepdims=True)

    cohort_units = unit(sides[2])

    def statistics(units):
        found = []
        for start in range(0, rows, max(1, MAX_PAIRS // cohort)):
            scores = units[start : start + max(1, MAX_PAIRS // cohort)] @ cohort_units.T
            if k < cohort:
                scores = numpy.partition(scores, cohort - k, axis=1)[:, cohort - k :]
            found.append((scores.mean(1), scores.std(1)))
        return [numpy.concatenate(parts) for parts in zip(*found)]

    def s_norm():
        units = [unit(side) for side in sides[:2]]
        scores = (units[0][trials[0]] * units[1][trials[1]]).sum(1)
        normed = [
            (scores - mean[numbers]) / deviation[numbers]
            for (mean, deviation), numbers in zip(map(statistics, units), trials)
        ]
        return sum(normed) / 2

    return s_norm


CONTESTANTS = {
    function.__name__: function
    for function in [
        torch_sum_step,
        torch_gather,
        torch_paper_unique,
        torch_paper_counts,
        torch_lenet_step,
        torch_embedding_dense,
        torch_embedding_sparse,
        torch_full_matrix,
        torch_contrastive_center,
        torch_arcface,
        torch_pml_arcface,
        torch_squared_distances,
        torch_distances,
        mxnet_step,
        memory_copy,
        sklearn_kd_tree,
        sklearn_brute,
        faiss_flat,
        torch_knn,
        sklearn_nearest_centroid,
        torch_nearest_center,
        torch_pml_accuracy_calculator,
        sklearn_roc_curve,
        numpy_score_norm,
    ]
}


def bytes_in_memory(what):
    with open("/proc/self/status", encoding="utf-8") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))


def peak_of(operation):
    """The most memory that an operation takes beyond what the process had before, where the system tells, as main.rs has it."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="utf-8") as file:
            file.write("5")
        before = bytes_in_memory("VmRSS:")
    except OSError:
        operation()
        return None
    operation()
    return max(0, bytes_in_memory("VmHWM:") - before)


def measure(operation, seconds):
    """As the Rust side does it: a fifth of the time to warm up, then every repetition for itself."""

    def repeat(seconds, least):
        times = []
        begin = time.perf_counter()
        while True:
            elapsed = time.perf_counter() - begin
            if times and elapsed > (seconds if len(times) >= least else PATIENCE):
                return times
            if len(times) == MAX_REPETITIONS:
                return times
            start = time.perf_counter_ns()
            operation()
            times.append((time.perf_counter_ns() - start) / 1e3)

    peak = peak_of(operation)
    repeat(seconds / 5, 1)
    times = sorted(repeat(seconds, MIN_REPETITIONS))
    return {"median_us": times[len(times) // 2], "min_us": times[0], "repetitions": len(times), "peak_bytes": peak}


def blas_of_faiss():
    """The version and the kernels of faiss' own OpenBLAS, which is older than some processors and guesses badly there."""
    from threadpoolctl import threadpool_info

    for library in threadpool_info():
        if library["internal_api"] == "openblas" and "faiss" in library["filepath"]:
            return " (OpenBLAS {version} for {architecture})".format(**library)
    return ""


def versions():
    """Of the libraries that the contestant has imported. MXNet's are in one entry: it has an environment of its own."""
    found = {
        label: sys.modules[module].__version__
        for module, label in [
            ("numpy", "numpy"),
            ("torch", "torch"),
            ("pytorch_metric_learning", "pytorch-metric-learning"),
            ("faiss", "faiss-cpu"),
            ("sklearn", "scikit-learn"),
            ("mxnet", "mxnet"),
        ]
        if module in sys.modules
    }
    if "faiss-cpu" in found:
        found["faiss-cpu"] += blas_of_faiss()
    found["Python"] = platform.python_version()
    if "mxnet" in found:
        return {"mxnet": "{mxnet} (numpy {numpy}, Python {Python})".format(**found)}
    return found


def awaited(operation):
    """The operation, and waiting until CUDA has done what it was given, as the Rust side waits for its device."""
    import torch

    def operate():
        operation()
        torch.cuda.synchronize()

    return operate


def main():
    name, seconds, threads, torch_device, *numbers = sys.argv[1:]
    if name.startswith("torch"):
        import torch

        torch.set_num_threads(int(threads))
        torch.set_default_device(torch_device)
    contestant = CONTESTANTS[name]
    numbers = [int(number) for number in numbers]
    block = bytearray(FREED_BEFORE)
    del block
    if "threads" in inspect.signature(contestant).parameters:
        numbers.append(int(threads))
    operation = contestant(*numbers)
    if torch_device == "cuda":
        operation = awaited(operation)
    print(json.dumps({"times": measure(operation, float(seconds)), "versions": versions()}))


if __name__ == "__main__":
    main()
