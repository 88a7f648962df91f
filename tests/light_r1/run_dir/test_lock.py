import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from light_r1.errors import RunDirError
from light_r1.run_dir.lock import is_alive, lock, this_process

HOLD = (
    "import sys, time; from light_r1.run_dir.lock import lock\n"
    "with lock(sys.argv[1]):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(600)\n"
)


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / ".lock")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_second_run_is_refused_with_host_pid_and_start(tmp_path, holder):
    owner = json.loads((tmp_path / ".lock").read_text())
    with (
        pytest.raises(RunDirError, match=rf"in use by process {holder.pid} on {owner['host']}, since 20\d\d-"),
        lock(tmp_path / ".lock"),
    ):
        pass
    assert (tmp_path / ".lock").exists()


@pytest.mark.parametrize("reaped", [True, False])
def test_lock_of_a_killed_run_is_taken_over_and_said_so(tmp_path, holder, caplog, reaped):
    holder.send_signal(signal.SIGKILL)
    if reaped:
        holder.wait()
    else:  # a zombie still has its process id
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
    with lock(tmp_path / ".lock"):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
    assert f"taken over from a run that died (process {holder.pid}" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_reused_process_id_is_not_the_owner(tmp_path):
    me = this_process()
    assert is_alive(me)
    former = replace(me, started=me.started - 3600)
    assert not is_alive(former)
    (tmp_path / ".lock").write_text(json.dumps(asdict(former)))
    with lock(tmp_path / ".lock"):
        pass


def test_owner_on_another_host_is_refused_with_instructions(tmp_path):
    elsewhere = replace(this_process(), host="node-17")
    (tmp_path / ".lock").write_text(json.dumps(asdict(elsewhere)))
    with (
        pytest.raises(RunDirError, match=r"node-17.*If it does not, delete .*\.lock"),
        lock(tmp_path / ".lock"),
    ):
        pass


def test_lock_is_freed_after_an_error_and_can_be_taken_again(tmp_path):
    for _ in range(2):
        with pytest.raises(KeyError), lock(tmp_path / "run" / ".lock"):
            raise KeyError("x")
    assert list((tmp_path / "run").iterdir()) == []


def test_same_process_cannot_take_it_twice(tmp_path):
    with lock(tmp_path / ".lock"):
        with pytest.raises(RunDirError, match="in use"), lock(tmp_path / ".lock"):
            pass
        assert (tmp_path / ".lock").exists()


def test_forked_child_does_not_free_its_parents_lock(tmp_path):
    with lock(tmp_path / ".lock"):
        context = lock(tmp_path / "other")
        context.__enter__()
        child = os.fork()
        if child == 0:
            context.__exit__(None, None, None)
            os._exit(0)
        os.waitpid(child, 0)
        assert (tmp_path / "other").exists()
        context.__exit__(None, None, None)
    assert list(tmp_path.iterdir()) == []


def test_unreadable_lock_is_refused_not_removed(tmp_path):
    (tmp_path / ".lock").write_text("what")
    with pytest.raises(RunDirError, match="not a readable lock"), lock(tmp_path / ".lock"):
        pass
    assert (tmp_path / ".lock").read_text() == "what"


def test_of_many_that_find_a_dead_owner_one_at_a_time_holds_the_lock(tmp_path):
    """Each of eight processes takes the lock if it can and notes entering and leaving; no two overlap."""
    (tmp_path / ".lock").write_text(json.dumps(asdict(replace(this_process(), started=1.0))))
    code = (
        "import sys, os, time; from light_r1.run_dir.lock import lock; from light_r1.errors import RunDirError\n"
        "while time.time() < float(sys.argv[3]): pass\n"
        "try:\n"
        "    with lock(sys.argv[1]):\n"
        "        os.close(os.open(sys.argv[2], os.O_CREAT | os.O_EXCL)); time.sleep(0.05)\n"
        "        os.unlink(sys.argv[2])\n"
        "        print('held')\n"
        "except RunDirError: print('refused')\n"
    )
    import time

    start = str(time.time() + 2)
    command = [sys.executable, "-c", code, str(tmp_path / ".lock"), str(tmp_path / "inside"), start]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    outcomes = [process.communicate()[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0] * 8  # O_EXCL failed in none
    assert "held" in outcomes
    assert set(outcomes) <= {"held", "refused"}
