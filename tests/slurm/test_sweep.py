"""Several seeds as an array job, and their table, as docs/cluster.md shows it."""

from __future__ import annotations

from slurm_jobs import SMALL, Job, Jobs, words

SEEDS = (1, 2, 3)


def test_seeds_end_in_one_table(jobs: Jobs) -> None:
    """Each task trains and tests, one of them is requeued meanwhile; a job that depends on the array compares."""
    lines = [f"--seed_everything {s} --model.init_args.seed {s} --variant+ seed_{s}" for s in SEEDS]
    (jobs.folder / "seeds.txt").write_text("\n".join(lines) + "\n")
    data = {"data.init_args.root": str(jobs.songs), "data.init_args.cache_root": str(jobs.folder / "cache")}
    typed = ["--array=1-3", "--cpus-per-task=1", "--mem=4G", "configs/slurm/sweep.sbatch", "seeds.txt"]
    array = jobs.sbatch([*typed, "--config", "configs/quickstart.yaml", *words(SMALL | data)])
    runs = ",".join(f"runs/quickstart_seed_{seed}" for seed in SEEDS)
    compare = f".venv/bin/livejam compare --group quickstart={runs} --markdown table.md"
    job = jobs.sbatch([f"--dependency=afterok:{array.number}", "--output=compare-%j.out", "--wrap", compare])
    job.log = jobs.folder / f"compare-{job.number}.out"
    second = Job(jobs.cluster, jobs.folder, f"{array.number}_2", "livejam")
    second.root = jobs.folder / "runs/quickstart_seed_2"
    second.wait_for_iteration(30)
    jobs.cluster.ask("scontrol", "requeue", second.number)
    job.wait()
    assert "| quickstart (3 seeds) |" in (jobs.folder / "table.md").read_text()
    assert second.restarts == 1
