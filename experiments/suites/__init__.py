"""What bench.py can measure: one file a suite, each with `run(batch, repeats) -> rows`."""
