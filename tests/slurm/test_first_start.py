"""Two jobs on one data set that nobody has used yet."""

from __future__ import annotations

from pathlib import Path

from slurm_jobs import Jobs, require_same_run


def test_two_cold_starts_make_everything_once(jobs: Jobs, tmp_path: Path) -> None:
    """Songs and bank: whoever comes second waits for the first, and says so; it may be another one for each."""
    data = {"data.init_args.root": str(tmp_path / "songs"), "data.init_args.cache_root": str(tmp_path / "cache")}
    data |= {"data.init_args.render_if_missing": "{songs: 3, seed: 1}"}
    both = [jobs.submit("quickstart", **data) for _ in range(2)]
    said = [job.wait().said for job in both]
    assert any("waiting until it is done" in text for text in said), said
    assert sum("rendering songs: 100%" in text for text in said) == 1
    assert sum("encoding songs: 100%" in text for text in said) == 1
    require_same_run(*both)
