from __future__ import annotations

from pathlib import Path

import pytest

from bench import quota, scale
from bench.quota import Quota, QuotaError


def test_each_process_gets_a_group_of_its_own_with_its_share(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory")
    limit = Quota(0.5, root=tmp_path)
    limit.admit(101)
    limit.admit(102)
    groups = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert {(group / "cpu.max").read_text() for group in groups} == {"5000 10000"}
    assert sorted((group / "cgroup.procs").read_text() for group in groups) == ["101", "102"]


def test_the_older_kind_of_groups_takes_quota_and_period(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    Quota(0.25, root=tmp_path).admit(101)
    (group,) = (tmp_path / "cpu").iterdir()
    written = {path.name: path.read_text() for path in group.iterdir()}
    assert written == {
        "cpu.cfs_period_us": "10000",
        "cpu.cfs_quota_us": "2500",
        "cgroup.procs": "101",
    }


def test_without_the_right_it_is_told_where(tmp_path: Path) -> None:
    limit = Quota(0.5, root=tmp_path / "missing")
    with pytest.raises(QuotaError, match=r"no CPU quota through .*missing/cpu/bench-"):
        limit.admit(101)


def test_points_that_need_a_quota_are_left_out_and_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused() -> None:
        raise QuotaError("not permitted")

    monkeypatch.setattr(quota, "check", refused)
    assert scale._possible([scale.EVEN, scale.HALF]) == [scale.EVEN]
    told = capsys.readouterr().err
    assert "not run" in told
    assert "not permitted" in told
