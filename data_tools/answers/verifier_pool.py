"""Verification in processes with a real deadline: a worker that hangs is killed and replaced.

Rewards use it: whatever a model writes, a batch takes at most about `deadline_s` longer than its work, no thread is
left behind and no rank stalls. `verify` is bounded by its own caps, so the deadline is a second lock, not the first.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from time import monotonic
from types import TracebackType
from typing import Any, Literal

from data_tools.answers.stated import MAX_CHARS
from data_tools.answers.verify import Verdict, verify
from data_tools.errors import DataToolsError

Gold = str | list[str]

_PARENT_CHECK_S = 2.0

KNOWN_PAIRS: tuple[tuple[str, Gold, bool], ...] = (
    ("\\boxed{42}", "42", True),
    ("\\boxed{42}", "43", False),
    ("The answer is 1,234.", "1234", True),
    ("\\boxed{\\frac{1}{2}}", "0.5", True),
    ("\\boxed{\\dfrac12}", "\\frac{1}{2}", True),
    ("\\boxed{-7}", "7", False),
    ("\\boxed{\\sqrt{8}}", "2\\sqrt{2}", True),
    ("\\boxed{x^2+2x+1}", "(x+1)^2", True),
    ("\\boxed{x^2+2x}", "(x+1)^2", False),
    ("\\boxed{(1, 2)}", "(1,2)", True),
    ("\\boxed{(2, 1)}", "(1,2)", False),
    ("\\boxed{1, 2}", "2, 1", True),
    ("\\boxed{[0,1)}", "[0,1]", False),
    ("\\boxed{x = 5}", "5", True),
    ("\\boxed{10\\text{ cm}}", "10", True),
    ("\\boxed{2\\pi}", "2\\pi", True),
    ("\\boxed{3.14}", "\\pi", False),
    ("\\boxed{\\text{(C)}}", "C", True),
    ("", "5", False),
    ("</think>so \\boxed{9^{9^{9^{9}}}}", "2", False),
)
"""Prediction, gold and whether it is right: what every worker must get right before it is trusted."""


@dataclass(slots=True)
class _Worker:
    process: Any
    pipe: Connection
    job: int | None = None
    started: float = 0.0


class VerifierPool:
    r"""Verifies batches in worker processes.

    Args:
        workers: Number of processes.
        deadline_s: Seconds one pair may take before its worker is killed and the verdict is `timeout`.
        start_method: `fork` starts at once; `spawn` is safe in a process that uses CUDA or threads.
        with_thought: As `verify` takes it.

    Raises:
        DataToolsError: The workers fail on `KNOWN_PAIRS`.

    Example:
        >>> with VerifierPool() as pool:
        ...     verdicts = pool.verify_batch(["\\boxed{4}"], ["4"])
    """

    def __init__(
        self,
        workers: int = 2,
        deadline_s: float = 1.0,
        start_method: Literal["fork", "spawn"] = "spawn",
        *,
        with_thought: bool = True,
    ) -> None:
        self.deadline_s = deadline_s
        self._with_thought = with_thought
        self._context: Any = multiprocessing.get_context(start_method)
        self._workers = [self._start() for _ in range(workers)]
        self.killed = 0
        self._check_itself()

    def verify_batch(self, predictions: Sequence[str], golds: Sequence[Gold]) -> list[Verdict]:
        """Return one verdict for each pair, in order.

        Raises:
            DataToolsError: There are not as many golds as predictions.
        """
        if len(predictions) != len(golds):
            raise DataToolsError(f"{len(predictions)} predictions but {len(golds)} golds")
        verdicts: list[Verdict | None] = [None] * len(predictions)
        waiting = deque(range(len(predictions)))
        while waiting or any(worker.job is not None for worker in self._workers):
            for worker in self._workers:
                if worker.job is None and waiting:
                    worker.job = waiting.popleft()
                    worker.started = monotonic()
                    self._send(worker, (predictions[worker.job][-MAX_CHARS:], golds[worker.job]))
            for index, verdict in self._finished():
                verdicts[index] = verdict
        return [verdict for verdict in verdicts if verdict is not None]

    def _send(self, worker: _Worker, pair: tuple[str, Gold]) -> None:
        try:
            worker.pipe.send(pair)
        except (BrokenPipeError, ConnectionResetError):  # died between two jobs
            self._replace(worker)
            worker.pipe.send(pair)

    def _finished(self) -> Iterable[tuple[int, Verdict]]:
        busy = {worker.pipe: worker for worker in self._workers if worker.job is not None}
        first = min(worker.started for worker in busy.values())
        ready = wait(list(busy), timeout=max(0.0, first + self.deadline_s - monotonic()))
        for pipe in ready:
            worker = busy[pipe]  # type: ignore[index]
            assert worker.job is not None
            try:
                yield worker.job, worker.pipe.recv()
            except (EOFError, ConnectionResetError):
                yield worker.job, Verdict(False, "unparsable", "the verifier process died")
                self._replace(worker)
            worker.job = None
        for worker in self._workers:
            if worker.job is not None and monotonic() - worker.started > self.deadline_s:
                yield worker.job, Verdict(False, "timeout", f"no verdict within {self.deadline_s:g} s")
                self._replace(worker)
                worker.job = None

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, os.getpid(), self._with_thought), daemon=True)
        process.start()
        theirs.close()
        ready = ours.poll(120)
        if not ready:
            process.kill()
            raise DataToolsError("a verifier process did not start within 120 s")
        ours.recv()
        return _Worker(process, ours)

    def _replace(self, worker: _Worker) -> None:
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()
        self.killed += 1
        fresh = self._start()
        worker.process, worker.pipe = fresh.process, fresh.pipe

    def _check_itself(self) -> None:
        predictions, golds, expected = zip(*KNOWN_PAIRS, strict=True)
        patient, self.deadline_s = self.deadline_s, 60.0
        verdicts = self.verify_batch(predictions, golds)
        self.deadline_s = patient
        wrong = [
            p for p, verdict, right in zip(predictions, verdicts, expected, strict=True) if verdict.correct != right
        ]
        if wrong:
            self.close()
            raise DataToolsError(f"the verifier fails on pairs it must get right: {wrong}")

    def close(self) -> None:
        """End the worker processes."""
        for worker in self._workers:
            worker.process.kill()
            worker.process.join()
            worker.pipe.close()
        self._workers = []

    def __enter__(self) -> VerifierPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _serve(pipe: Connection, parent: int, with_thought: bool) -> None:
    """Answer pairs until the other end, or the process that holds it, goes away.

    A killed parent does not end the pipe: workers forked later hold its other end too.
    """
    verify("\\boxed{x+1}", "1+x")  # fills caches before the first deadline runs
    pipe.send("ready")
    while os.getppid() == parent:
        try:
            if not pipe.poll(_PARENT_CHECK_S):
                continue
            prediction, gold = pipe.recv()
        except (EOFError, ConnectionResetError):
            return
        pipe.send(verify(prediction, gold, with_thought=with_thought))
