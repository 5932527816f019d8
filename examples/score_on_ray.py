"""Answers to the sequences in a Parquet file, on Ray: here processes of this machine.

    python examples/score_on_ray.py MODEL DATA.parquet OUT --id user --columns A,B,C --order t [--workers 2]

A row of DATA is a frame: the ids of its sequence, the columns that the model takes, its place in the order.
OUT becomes a folder of Parquet files with the answers beside the ids. A process that dies loses nothing:
Ray runs its tasks again. The answers have the bits that one process gives (``rnnrt score``).
"""

import argparse

import ray

import rnnrt
from rnnrt import clusters


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "data", "out"):
        parser.add_argument(name)
    parser.add_argument("--id", required=True)
    parser.add_argument("--columns", required=True)
    parser.add_argument("--order", required=True)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(arguments)
    model = rnnrt.by_path(rnnrt.load(options.model))  # the processes read the file: it is not sent
    ray.init(num_cpus=options.workers, include_dashboard=False)
    try:
        frames = ray.data.read_parquet(options.data)
        answers = clusters.on_ray(
            frames, model, options.id.split(","), options.columns.split(","), options.order
        )
        answers.write_parquet(options.out)
    finally:
        ray.shutdown()
    print(f"{options.out}: answers of {options.workers} processes")


if __name__ == "__main__":
    main()
