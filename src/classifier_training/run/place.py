"""The place of a process among those that train one model, by what its launcher has set in the environment.

Mistakes of launchers are found here, before anything is written and before anything waits for a process that nobody
will ever start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from classifier_training.errors import ConfigError, RunError

Launcher = Literal["none", "torchrun", "srun", "other"]
"""Who has started the processes: nobody yet, torchrun, SLURM's srun, or something that sets ``LOCAL_RANK``."""

LOCALHOST: Final = "127.0.0.1"
_SRUN_PORT: Final = 15000  # plus the last four digits of the job's id
_INTERACTIVE_JOBS: Final = frozenset({"bash", "interactive"})


@dataclass(frozen=True, slots=True)
class Place:
    """Which process this is, of how many, and where they meet.

    Attributes:
        launcher: Who has started them.
        num_devices: Processes on each machine.
        num_nodes: Machines.
        local_rank: This process on its machine, from 0.
        node_rank: This machine, from 0.
        address: Host at which they meet; None: this machine alone.
        port: Its port; 0: any free one.
    """

    launcher: Launcher
    num_devices: int
    num_nodes: int = 1
    local_rank: int = 0
    node_rank: int = 0
    address: str | None = None
    port: int = 0

    @property
    def world_size(self) -> int:
        """Number of processes, on all machines."""
        return self.num_devices * self.num_nodes

    @property
    def rank(self) -> int:
        """This process among all of them, from 0."""
        return self.node_rank * self.num_devices + self.local_rank


ALONE: Final = Place("none", 1)
"""The place of a process that trains on one device."""


def find_launcher(environ: Mapping[str, str]) -> Launcher:
    """Who has started this process.

    One task of SLURM is like a shell: it starts processes for its devices itself.

    Raises:
        RunError: A launcher that is not supported has started several processes.
    """
    if "TORCHELASTIC_RUN_ID" in environ:
        return "torchrun"
    if (
        "SLURM_NTASKS" in environ
        and environ.get("SLURM_JOB_NAME") not in _INTERACTIVE_JOBS
        and _number(environ, "SLURM_NTASKS", 1, least=1) > 1
    ):
        return "srun"
    if "LOCAL_RANK" in environ:
        return "other"
    world_size = _number(environ, "WORLD_SIZE", 1, least=1)
    if "RANK" in environ and world_size > 1:
        raise RunError(
            f"RANK={environ['RANK']} and WORLD_SIZE={world_size} are set, and LOCAL_RANK is not: set LOCAL_RANK, the"
            " number of the process on its machine, or start the processes with torchrun; to train alone, unset both"
        )
    if _number(environ, "OMPI_COMM_WORLD_SIZE", 1, least=1) > 1:
        raise RunError(
            f"mpirun has started {environ['OMPI_COMM_WORLD_SIZE']} processes, which is not supported: start them with"
            " torchrun, or with srun under SLURM"
        )
    return "none"


def launched_devices(environ: Mapping[str, str], num_nodes: int) -> int | None:
    """How many processes a launcher has started on each machine, for ``trainer.devices=auto``; None: none has.

    Raises:
        RunError: What the launcher has set contradicts itself.
    """
    launcher = find_launcher(environ)
    if launcher == "torchrun":
        return _number(environ, "LOCAL_WORLD_SIZE", least=1)
    if launcher == "srun":
        return _tasks_per_node(environ)
    if launcher == "other" and "WORLD_SIZE" in environ:
        return max(1, _number(environ, "WORLD_SIZE", least=1) // num_nodes)
    return None


def find_place(environ: Mapping[str, str], num_devices: int, num_nodes: int) -> Place:
    """The place of this process.

    Args:
        environ: The environment variables.
        num_devices: ``trainer.devices``, decided.
        num_nodes: ``trainer.num_nodes``.

    Raises:
        ConfigError: The settings ask for other processes than the launcher has started.
        RunError: Variables are missing, are not numbers, or contradict each other.
    """
    launcher = find_launcher(environ)
    if launcher == "torchrun":
        return _torchrun_place(environ, num_devices, num_nodes)
    if launcher == "srun":
        return _srun_place(environ, num_devices, num_nodes)
    if launcher == "other":
        return _other_place(environ, num_devices, num_nodes)
    if num_nodes == 1:
        return Place("none", num_devices, address=LOCALHOST if num_devices > 1 else None)
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if not environ.get(name)]
    if missing:
        raise RunError(
            f"trainer.num_nodes={num_nodes}: {' and '.join(missing)} must be set on every machine to the host and a"
            f" free port of the first one, and NODE_RANK to 0 … {num_nodes - 1}; or start the processes with torchrun"
            " or srun; on one machine leave trainer.num_nodes out"
        )
    node = _number(environ, "NODE_RANK", 0, below=num_nodes, limit=f"trainer.num_nodes={num_nodes}")
    return Place("none", num_devices, num_nodes, 0, node, environ["MASTER_ADDR"], _port(environ))


def _torchrun_place(environ: Mapping[str, str], num_devices: int, num_nodes: int) -> Place:
    world_size = _number(environ, "WORLD_SIZE", least=1)
    rank = _number(environ, "RANK", below=world_size, limit=f"WORLD_SIZE={world_size}")
    per_node = _number(environ, "LOCAL_WORLD_SIZE", num_devices, least=1)
    local_rank = _number(environ, "LOCAL_RANK", below=per_node, limit=f"LOCAL_WORLD_SIZE={per_node}")
    if world_size % per_node:
        raise RunError(
            f"WORLD_SIZE={world_size} is not a multiple of LOCAL_WORLD_SIZE={per_node}; start torchrun again"
        )
    _check_count("torchrun", (per_node, world_size // per_node), (num_devices, num_nodes))
    if rank % per_node != local_rank:
        raise RunError(f"RANK={rank} and LOCAL_RANK={local_rank} contradict LOCAL_WORLD_SIZE={per_node}")
    address, port = environ.get("MASTER_ADDR", LOCALHOST), _port(environ)
    return Place("torchrun", num_devices, num_nodes, local_rank, rank // per_node, address, port)


def _srun_place(environ: Mapping[str, str], num_devices: int, num_nodes: int) -> Place:
    num_tasks, per_node = _number(environ, "SLURM_NTASKS", least=1), _tasks_per_node(environ)
    nodes = _number(environ, "SLURM_NNODES", max(1, num_tasks // per_node), least=1)
    if nodes * per_node != num_tasks:
        raise RunError(
            f"srun has started {num_tasks} tasks (--ntasks), which is not --nodes={nodes} times"
            f" --ntasks-per-node={per_node}; leave --ntasks out"
        )
    _check_count("srun", (per_node, nodes), (num_devices, num_nodes))
    rank = _number(environ, "SLURM_PROCID", below=num_tasks, limit=f"SLURM_NTASKS={num_tasks}")
    local_rank = _number(environ, "SLURM_LOCALID", rank % per_node, below=per_node, limit=f"{per_node} on a machine")
    node = _number(environ, "SLURM_NODEID", rank // per_node, below=nodes, limit=f"{nodes} machines")
    if node * per_node + local_rank != rank:
        raise RunError(
            f"task {rank} runs as task {local_rank} of machine {node}: SLURM must fill one machine after the other;"
            " give srun --distribution=block"
        )
    address = environ.get("MASTER_ADDR") or first_host(environ.get("SLURM_NODELIST", LOCALHOST))
    digits = "".join(character for character in environ.get("SLURM_JOB_ID", "") if character.isdigit())
    port = _port(environ) if environ.get("MASTER_PORT") else _SRUN_PORT + int(digits[-4:] or 0)
    return Place("srun", num_devices, num_nodes, local_rank, node, address, port)


def _other_place(environ: Mapping[str, str], num_devices: int, num_nodes: int) -> Place:
    world_size = _number(environ, "WORLD_SIZE", num_devices * num_nodes, least=1)
    if world_size != num_devices * num_nodes:
        raise ConfigError(
            f"WORLD_SIZE={world_size} is set, and trainer.devices={num_devices} × trainer.num_nodes={num_nodes} are"
            f" {num_devices * num_nodes} processes; type trainer.devices={max(1, world_size // num_nodes)}, or unset"
            " LOCAL_RANK and WORLD_SIZE to train alone"
        )
    local_rank = _number(environ, "LOCAL_RANK", below=num_devices, limit=f"trainer.devices={num_devices}")
    name = "NODE_RANK" if "NODE_RANK" in environ else "GROUP_RANK"
    node = _number(environ, name, 0, below=num_nodes, limit=f"trainer.num_nodes={num_nodes}")
    if world_size == 1:
        return Place("other", 1)
    if not environ.get("MASTER_PORT"):
        raise RunError(
            f"LOCAL_RANK={local_rank} is set, so another program starts the {world_size} processes; it must set"
            " MASTER_PORT and MASTER_ADDR too, as torchrun does. To let this program start them, unset LOCAL_RANK"
        )
    address, port = environ.get("MASTER_ADDR") or LOCALHOST, _port(environ)
    return Place("other", num_devices, num_nodes, local_rank, node, address, port)


def first_host(nodes: str) -> str:
    """The first name in SLURM's list of machines: ``gpu[07-09,12],cpu1`` begins with ``gpu07``."""
    prefix, bracket, rest = nodes.partition("[")
    if not bracket or "," in prefix or " " in prefix:
        return nodes.replace(",", " ").split()[0] if nodes.strip() else LOCALHOST
    inside, _, after = rest.partition("]")
    number = inside.replace(",", "-").split("-")[0]
    return prefix + number + after.replace(",", " ").split(" ")[0]


def _tasks_per_node(environ: Mapping[str, str]) -> int:
    if "SLURM_NTASKS_PER_NODE" not in environ:
        num_tasks = _number(environ, "SLURM_NTASKS", least=1)
        raise RunError(
            f"srun has started {num_tasks} tasks (--ntasks={num_tasks}), and how many of them run on each machine is"
            f" not certain; type --ntasks-per-node={num_tasks} instead of --ntasks={num_tasks}, or fewer with --nodes"
        )
    return _number(environ, "SLURM_NTASKS_PER_NODE", least=1)


def _check_count(launcher: str, started: tuple[int, int], wanted: tuple[int, int]) -> None:
    if started != wanted:
        options = {
            "torchrun": f"torchrun --nnodes={wanted[1]} --nproc-per-node={wanted[0]}",
            "srun": f"srun --nodes={wanted[1]} --ntasks-per-node={wanted[0]}",
        }
        raise ConfigError(
            f"trainer.devices={wanted[0]} and trainer.num_nodes={wanted[1]}: {launcher} has started {started[0]}"
            f" process(es) on each of {started[1]} machine(s); type trainer.devices={started[0]}"
            f" trainer.num_nodes={started[1]}, or start them with {options[launcher]}"
        )


def _port(environ: Mapping[str, str]) -> int:
    return _number(environ, "MASTER_PORT", least=1, below=2**16)


def _number(
    environ: Mapping[str, str], name: str, default: int | None = None, *, least: int = 0, below: int | None = None,
    limit: str = "",
) -> int:  # fmt: skip
    """A whole number out of the environment."""
    text = environ.get(name, "").strip()
    if not text and default is not None:
        return default
    is_number = text.isascii() and text.isdigit()
    if not is_number or int(text) < least or (below is not None and int(text) >= below):
        allowed = f"a whole number, at least {least}" if below is None else f"{least} … {below - 1}"
        because = f" ({limit})" if limit else ""
        was = f"{name}={text}" if text else f"{name} is not set"
        raise RunError(
            f"{was}: allowed is {allowed}{because}; it is set by who starts the processes, see docs/resuming.md"
        )
    return int(text)
