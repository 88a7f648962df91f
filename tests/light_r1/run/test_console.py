from __future__ import annotations

import logging
import sys
import warnings

import pytest

from light_r1.ranks import Ranks
from light_r1.run.console import attempt_log, console, quiet_libraries
from light_r1.run_dir.folder import RunDir

log = logging.getLogger("light_r1.something")


def test_rank_0_tells_and_the_others_warn_with_their_number(capsys):
    with console(Ranks(0, 2)):
        log.info("begun")
    with console(Ranks(1, 2)):
        log.info("not told twice")
        log.warning("trouble")
    said = capsys.readouterr().out
    assert "begun" in said and "not told twice" not in said
    assert "[rank 1] trouble" in said
    log.info("nobody listens any more")
    assert not capsys.readouterr().out


def test_an_attempt_keeps_the_traceback_of_what_ended_it_and_the_console_does_not(tmp_path, capsys):
    folder = RunDir(tmp_path).stage("sft")
    with console(Ranks()), pytest.raises(KeyError), attempt_log(folder, Ranks()):
        raise KeyError("lost")
    assert "Traceback" not in "".join(capsys.readouterr())
    text = (folder.path / "attempts/1/log.txt").read_text()
    assert "sft failed" in text and "KeyError: 'lost'" in text


def test_short_bars_of_transformers_stay_away_and_long_ones_come(capsys):
    from transformers.utils import logging as theirs

    with quiet_libraries():
        for _ in theirs.tqdm(range(3), desc="Loading weights"):
            pass
        for _ in theirs.tqdm(range(3), desc="Loading a large model", delay=0):
            pass
    for _ in theirs.tqdm(range(3), desc="Outside"):
        pass
    shown = capsys.readouterr().err
    assert "Loading weights" not in shown
    assert "Loading a large model" in shown and "Outside" in shown


def test_only_warnings_that_nobody_can_act_on_are_kept_back():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with quiet_libraries():
            warnings.warn("`gradient_checkpointing` is deprecated and will be removed", FutureWarning, stacklevel=1)
            warnings.warn("`max_length` is deprecated", FutureWarning, stacklevel=1)
    assert [str(warning.message) for warning in told] == ["`max_length` is deprecated"]


def test_tied_weights_are_not_told_as_missing_and_others_are(capsys):
    from transformers.utils import logging as theirs

    trainer = theirs.get_logger("transformers.trainer")
    missing = "There were missing keys in the checkpoint model loaded: {}."
    handler = logging.StreamHandler(sys.stdout)
    trainer.addHandler(handler)
    with quiet_libraries():
        trainer.warning(missing.format(["lm_head.weight"]))
        trainer.warning(missing.format(["lm_head.weight", "norm.weight"]))
    trainer.removeHandler(handler)
    said = capsys.readouterr().out
    assert "norm.weight" in said and "['lm_head.weight']" not in said
