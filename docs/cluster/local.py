"""grade batch --engine parsl --config docs/cluster/local.py: this machine, through Parsl."""

from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider

config = Config(
    executors=[
        HighThroughputExecutor(
            label="grade",
            address="127.0.0.1",
            max_workers_per_node=2,
            cpu_affinity="block",  # each worker its share of the cores: that many threads run a submission's blocks
            provider=LocalProvider(init_blocks=1, max_blocks=1),
        )
    ],
    run_dir="parsl",
)
