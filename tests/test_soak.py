"""The soak test in its short form; `make soak` runs the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak import soak


@pytest.mark.slow
def test_a_run_survives_faults_kills_and_a_dying_replica(tmp_path: Path) -> None:
    told = soak(300, tmp_path)
    assert told["accepted"] > 250
    assert told["peak MB"] < 1000
