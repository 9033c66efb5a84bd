"""grade batch --engine parsl --config docs/cluster/slurm.py --device cuda: nodes of a Slurm cluster, four GPUs each.

To be adapted: partition, account, GPUs of a node, and where the grader lies. The nodes need the same file system.
"""

from parsl.addresses import address_by_hostname
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import SlurmProvider

GPUS_OF_A_NODE = 4
GRADER = "/shared/cuda-kernel-grader"

# Several submissions on their way to each GPU: one compiles and is checked on the CPU while another is timed. The
# grader sees to it that a GPU is timed by one alone.
PER_GPU = 4

config = Config(
    executors=[
        HighThroughputExecutor(
            label="grade",
            address=address_by_hostname(),
            # Which GPU a worker sees (CUDA_VISIBLE_DEVICES); a number several times: shared by as many workers.
            available_accelerators=[str(gpu) for gpu in range(GPUS_OF_A_NODE) for _ in range(PER_GPU)],
            cpu_affinity="block",
            provider=SlurmProvider(
                partition="gpu",
                nodes_per_block=1,
                init_blocks=1,
                max_blocks=2,
                walltime="04:00:00",
                exclusive=True,
                scheduler_options=f"#SBATCH --gpus-per-node={GPUS_OF_A_NODE}",
                worker_init=f"source {GRADER}/.venv/bin/activate",
            ),
        )
    ],
    retries=0,  # the grader itself sends again what was lost
    run_dir="parsl",
)
