"""Time and peak memory of merging: `python -m benchmarks.merge FOLDER [--tensors 24 --width 4096 --height 2048]`.

Writes a base and two bf16 models of random weights into FOLDER, merges them with each method in a process of its own,
and prints the peak of its own memory (RssAnon; pages of the input files that the kernel keeps are not counted).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

from benchmarks.sections import write_section

_METHODS = ("linear", "slerp", "ties", "dare_ties")


def write_models(folder: Path, tensors: int, shape: tuple[int, int]) -> None:
    """Write `base`, `a` and `b`, each in files of four tensors."""
    import torch
    from safetensors.torch import save_file

    for seed, name in enumerate(("base", "a", "b")):
        (folder / name).mkdir(parents=True, exist_ok=True)
        generator, where = torch.Generator().manual_seed(seed), dict[str, str]()
        for start in range(0, tensors, 4):
            part = {
                f"layer.{i}": torch.randn(shape, generator=generator).bfloat16()
                for i in range(start, min(start + 4, tensors))
            }
            file = f"model-{start:05d}.safetensors"
            save_file(part, folder / name / file, metadata={"format": "pt"})
            where.update(dict.fromkeys(part, file))
        (folder / name / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))


def anonymous_mib() -> float:
    """Return the memory of this process that no file stands behind, in MiB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


def measure(folder: Path, method: str) -> None:
    """Merge once and print seconds and memory above what the imports take."""
    from light_r1.models.merge import merge_models

    before = peak = anonymous_mib()
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, anonymous_mib())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    merge_models(
        [folder / "a", folder / "b"],
        folder / "out",
        method=method,
        base=folder / "base" if "ties" in method else None,
        densities=[0.5, 0.5] if "ties" in method else None,
    )
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    print(f"{method}: {seconds:.1f} s, {peak - before:.0f} MiB")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tensors", type=int, default=24)
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--height", type=int, default=2048)
    parser.add_argument("--method", choices=_METHODS)
    options = parser.parse_args()
    if options.method:
        measure(options.folder, options.method)
        return
    shape = (options.height, options.width)
    write_models(options.folder, options.tensors, shape)
    size = shape[0] * shape[1] / 2**20
    whole = size * 2 * options.tensors
    printed = [f"3 models of {options.tensors} tensors, {size * 4:.0f} MiB each in fp32, {whole:.0f} MiB:", ""]
    for method in _METHODS:
        command = [sys.executable, "-m", "benchmarks.merge", str(options.folder), "--method", method]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        printed.append(f"- {done.stdout.strip()}")
        print(printed[-1], flush=True)
    write_section("merge", "\n".join(printed))


if __name__ == "__main__":
    main()
