"""Draws the times that peers.py --scaling takes: one chart for each size.

    python charts.py TIMES.json DIR

Needs matplotlib; peers.py runs it.
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
# Text stays text, and the same numbers give the same file.
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "burn-center-loss", "font.size": 11})

import matplotlib.pyplot as plt  # noqa: E402

# Colours of Okabe and Ito, which the colour-blind tell apart; markers and dashes tell the lines apart without colour.
LINES = {
    "step": ("this crate", "#0072B2", "o", "-"),
    "step_deferred": ("this crate, deferred checking", "#56B4E9", "s", "--"),
    "plain_step": ("plain tensor operations", "#E69F00", "^", "-."),
    "step_gradient": ("gradient rule with SGD", "#D55E00", "D", ":"),
}
AXES = {
    "batch_size": ("batch size B (samples)", "batch size"),
    "num_classes": ("number of classes C", "number of classes"),
    "feature_dim": ("feature dimension D (columns)", "feature dimension"),
}


def draw(sweep, machine, path):
    axis = sweep["axis"]
    label, title = AXES[axis]
    figure, axes = plt.subplots(figsize=(7.2, 4.6), layout="constrained")
    for operation, (name, colour, marker, dashes) in LINES.items():
        points = [point for point in sweep["points"] if point["operation"] == operation]
        axes.plot(
            [point[axis] for point in points],
            [point["times"]["median_us"] for point in points],
            color=colour,
            marker=marker,
            linestyle=dashes,
            linewidth=2,
            label=name,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    sizes = sorted({point[axis] for point in sweep["points"]})
    axes.set_xticks(sizes, [f"{size:,}".replace(",", " ") for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel(label)
    axes.set_ylabel("time of a whole step (µs)")
    axes.set_title(f"Cost by {title}: {sweep['held']}", fontsize=12)
    axes.grid(True, which="major", color="#DDDDDD")
    axes.set_axisbelow(True)
    axes.legend(frameon=False)
    figure.text(0.995, 0.005, machine, ha="right", va="bottom", fontsize=7, color="#555555")
    figure.get_layout_engine().set(rect=(0, 0.03, 1, 0.97))
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    data = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    directory = Path(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    for sweep in data["sweeps"]:
        path = directory / f"step_by_{sweep['axis']}.svg"
        draw(sweep, data["machine"], path)
        print(path)


if __name__ == "__main__":
    main()
