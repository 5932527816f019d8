"""Answers to the sequences in a Parquet file, on a Dask cluster: here workers of this machine.

    python examples/score_on_dask.py MODEL DATA.parquet OUT --id user --columns A,B,C --order t [--workers 2]

A row of DATA is a frame: the ids of its sequence, the columns that the model takes, its place in the order.
OUT becomes a folder of Parquet files with the answers beside the ids. A worker that dies loses nothing:
Dask gives its tasks to another. The answers have the bits that one process gives (``rnnrt score``).
"""

import argparse

import dask.dataframe
from dask.distributed import Client, LocalCluster

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
    model = rnnrt.by_path(rnnrt.load(options.model))  # the workers read the file: it is not sent
    cluster = LocalCluster(n_workers=options.workers, threads_per_worker=1, dashboard_address=None)
    with cluster, Client(cluster):
        frames = dask.dataframe.read_parquet(options.data, split_row_groups=True)
        answers = clusters.on_dask(
            frames, model, options.id.split(","), options.columns.split(","), options.order
        )
        answers.to_parquet(options.out, write_index=False)
    print(f"{options.out}: answers of {options.workers} workers")


if __name__ == "__main__":
    main()
