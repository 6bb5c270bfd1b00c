from __future__ import annotations

from collections.abc import Mapping

import pytest

from classifier_training.errors import ConfigError, RunError, UserError
from classifier_training.run.place import Place, find_launcher, find_place, first_host, launched_devices

MEETING = {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}
TORCHRUN = {
    **MEETING, "TORCHELASTIC_RUN_ID": "none", "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4", "GROUP_RANK": "1",
}  # fmt: skip
SRUN = {
    "SLURM_JOB_ID": "4217", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "8", "SLURM_NTASKS_PER_NODE": "4",
    "SLURM_NNODES": "2", "SLURM_NODEID": "1", "SLURM_PROCID": "5", "SLURM_LOCALID": "1",
    "SLURM_NODELIST": "gpu[07-08]",
}  # fmt: skip


@pytest.mark.parametrize(
    ("environ", "settings", "expected"),
    [
        ({}, (1, 1), Place("none", 1)),
        ({}, (4, 1), Place("none", 4, address="127.0.0.1")),
        ({**MEETING, "NODE_RANK": "1"}, (4, 2), Place("none", 4, 2, 0, 1, "10.0.0.1", 29500)),
        (MEETING, (4, 2), Place("none", 4, 2, 0, 0, "10.0.0.1", 29500)),
        (TORCHRUN, (4, 2), Place("torchrun", 4, 2, 1, 1, "10.0.0.1", 29500)),
        (SRUN, (4, 2), Place("srun", 4, 2, 1, 1, "gpu07", 19217)),
        ({**SRUN, **MEETING}, (4, 2), Place("srun", 4, 2, 1, 1, "10.0.0.1", 29500)),
        ({**SRUN, "SLURM_NTASKS": "1"}, (4, 1), Place("none", 4, address="127.0.0.1")),  # a task is like a shell
        ({**SRUN, "SLURM_JOB_NAME": "bash"}, (2, 1), Place("none", 2, address="127.0.0.1")),
        ({**MEETING, "LOCAL_RANK": "1"}, (2, 1), Place("other", 2, 1, 1, 0, "10.0.0.1", 29500)),
        ({**MEETING, "LOCAL_RANK": "1", "GROUP_RANK": "1"}, (2, 2), Place("other", 2, 2, 1, 1, "10.0.0.1", 29500)),
        ({"LOCAL_RANK": "0"}, (1, 1), Place("other", 1)),
        ({"WORLD_SIZE": "1", "RANK": "0"}, (1, 1), Place("none", 1)),
    ],
)
def test_a_place_by_what_the_launcher_has_set(
    environ: Mapping[str, str], settings: tuple[int, int], expected: Place
) -> None:
    place = find_place(environ, *settings)
    assert place == expected
    assert place.rank == expected.node_rank * settings[0] + expected.local_rank
    assert place.world_size == settings[0] * settings[1]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        (TORCHRUN, 4),
        (SRUN, 4),
        ({"LOCAL_RANK": "0", "WORLD_SIZE": "8"}, 4),
        ({"LOCAL_RANK": "0"}, None),
        ({**SRUN, "SLURM_NTASKS": "1"}, None),
    ],
)
def test_automatic_devices_are_those_of_the_launcher(environ: Mapping[str, str], expected: int | None) -> None:
    assert launched_devices(environ, num_nodes=2) == expected


@pytest.mark.parametrize(
    ("environ", "settings", "message"),
    [
        (TORCHRUN, (2, 1), "torchrun has started 4 process(es) on each of 2 machine(s); type trainer.devices=4"),
        ({**TORCHRUN, "RANK": "8"}, (4, 2), "RANK=8: allowed is 0 … 7 (WORLD_SIZE=8)"),
        ({**TORCHRUN, "RANK": "six"}, (4, 2), "RANK=six: allowed is 0 … 7"),
        ({**TORCHRUN, "RANK": "4"}, (4, 2), "RANK=4 and LOCAL_RANK=1 contradict LOCAL_WORLD_SIZE=4"),
        ({**TORCHRUN, "LOCAL_RANK": "4"}, (4, 2), "LOCAL_RANK=4: allowed is 0 … 3 (LOCAL_WORLD_SIZE=4)"),
        ({**TORCHRUN, "WORLD_SIZE": "0"}, (4, 2), "WORLD_SIZE=0: allowed is a whole number, at least 1"),
        ({**TORCHRUN, "WORLD_SIZE": "7"}, (4, 2), "WORLD_SIZE=7 is not a multiple of LOCAL_WORLD_SIZE=4"),
        ({**TORCHRUN, "MASTER_PORT": "http"}, (4, 2), "MASTER_PORT=http: allowed is 1 … 65535"),
        ({**TORCHRUN, "MASTER_PORT": "70000"}, (4, 2), "MASTER_PORT=70000: allowed is 1 … 65535"),
        ({key: value for key, value in TORCHRUN.items() if key != "RANK"}, (4, 2), "RANK is not set"),
        (SRUN, (4, 1), "srun has started 4 process(es) on each of 2 machine(s); type trainer.devices=4 trainer.num"),
        (SRUN, (2, 2), "or start them with srun --nodes=2 --ntasks-per-node=2"),
        ({**SRUN, "SLURM_NTASKS": "6"}, (4, 2), "6 tasks (--ntasks), which is not --nodes=2 times --ntasks-per-node=4"),
        ({**SRUN, "SLURM_NTASKS": "many"}, (4, 2), "SLURM_NTASKS=many: allowed is a whole number, at least 1"),
        ({**SRUN, "SLURM_PROCID": "9"}, (4, 2), "SLURM_PROCID=9: allowed is 0 … 7"),
        ({**SRUN, "SLURM_LOCALID": "0"}, (4, 2), "give srun --distribution=block"),
        (
            {"SLURM_NTASKS": "2", "SLURM_JOB_NAME": "train"},
            (2, 1),
            "type --ntasks-per-node=2 instead of --ntasks=2",
        ),
        ({**MEETING, "LOCAL_RANK": "2"}, (2, 1), "LOCAL_RANK=2: allowed is 0 … 1 (trainer.devices=2)"),
        ({**MEETING, "LOCAL_RANK": "0", "WORLD_SIZE": "4"}, (2, 1), "type trainer.devices=4, or unset LOCAL_RANK"),
        ({"LOCAL_RANK": "0"}, (2, 1), "it must set MASTER_PORT and MASTER_ADDR too"),
        ({"RANK": "1", "WORLD_SIZE": "2"}, (2, 1), "and LOCAL_RANK is not: set LOCAL_RANK"),
        ({"OMPI_COMM_WORLD_SIZE": "4"}, (2, 1), "mpirun has started 4 processes, which is not supported"),
        ({}, (1, 2), "trainer.num_nodes=2: MASTER_ADDR and MASTER_PORT must be set on every machine"),
        ({"MASTER_ADDR": "a"}, (1, 2), "trainer.num_nodes=2: MASTER_PORT must be set"),
        ({**MEETING, "NODE_RANK": "2"}, (1, 2), "NODE_RANK=2: allowed is 0 … 1 (trainer.num_nodes=2)"),
        ({**MEETING, "NODE_RANK": "-1"}, (1, 2), "NODE_RANK=-1: allowed is 0 … 1"),
    ],
)
def test_mistakes_are_one_line_that_names_them(
    environ: Mapping[str, str], settings: tuple[int, int], message: str
) -> None:
    with pytest.raises(UserError) as raised:
        find_place(environ, *settings)
    assert isinstance(raised.value, ConfigError | RunError)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_torchrun_within_a_job_of_slurm_is_torchrun() -> None:
    assert find_launcher({**SRUN, **TORCHRUN}) == "torchrun"


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("gpu07", "gpu07"),
        ("gpu[07-09,12]", "gpu07"),
        ("gpu[7]", "gpu7"),
        ("a1,a2", "a1"),
        ("a1,gpu[3-4]", "a1"),
        ("gpu[3-4],a1", "gpu3"),
        ("rack[1-2].cluster", "rack1.cluster"),
        ("", "127.0.0.1"),
    ],
)
def test_the_first_machine_of_a_job(nodes: str, host: str) -> None:
    assert first_host(nodes) == host
