"""Workers by what they have free: which fits a need best, without an index for each shape.

Best is what leaves cpus and memory in the proportions of the whole cluster, and little of both: memory without cpus is
of no use to anybody, nor are cpus without memory. Tightest alone placed 0.89 of the cpus asked for in `bench
placement` with 1,000 workers; this places 0.94.

Per number of free GPUs there is a grid of cells, half a cpu wide and a GiB of memory high; bit masks say which cells
have workers. A decision looks at a few rows of cells, beginning with the tightest; workers in the same state are as
one. Only cells on the edge of the need are looked into to see what fits; in all others everything does (but for disk).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from engine.scheduler.cluster_view import Machine
    from swarmsync.model.resources import Need

CPUS_MILLI: Final = 500
MEMORY_SHIFT: Final = 30
#: How much it weighs that a job makes what is left odder, beside how much is left.
_ODD: Final = 10
#: Beyond these, cells are no finer: what is so large is decided by the first fit there.
_ROWS_MAX: Final = 4_095
_COLUMNS_MAX: Final = 8_191
#: How many rows are compared once something fits.
_COMPARED: Final = 6

State = tuple[int, int, int, int]
Cell = dict[State, dict[int, "Machine"]]


class Grid:
    """The workers with one number of free GPUs."""

    __slots__ = ("cells", "columns", "rows")

    def __init__(self) -> None:
        self.rows = 0  # bit r: row r has workers
        self.columns: dict[int, int] = {}  # row -> bit c: column c of it has workers
        self.cells: dict[tuple[int, int], Cell] = {}

    def add(self, state: State, machine: Machine) -> None:
        place = _cell(state[0], state[1])
        cell = self.cells.get(place)
        if cell is None:
            cell = self.cells[place] = {}
            row, column = place
            self.rows |= 1 << row
            self.columns[row] = self.columns.get(row, 0) | 1 << column
        alike = cell.get(state)
        if alike is None:
            cell[state] = {machine.view.worker_id: machine}
        else:
            alike[machine.view.worker_id] = machine

    def remove(self, state: State, worker_id: int) -> None:
        place = _cell(state[0], state[1])
        cell = self.cells[place]
        alike = cell[state]
        del alike[worker_id]
        if alike:
            return
        del cell[state]
        if cell:
            return
        del self.cells[place]
        row, column = place
        left = self.columns[row] & ~(1 << column)
        if left:
            self.columns[row] = left
        else:
            del self.columns[row]
            self.rows &= ~(1 << row)

    def choose(self, need: Need, bytes_per_milli: int) -> Machine | None:
        """Return a worker whose room this makes the least odd, by the proportions of the cluster, and then is little.

        As far as the rows compared show; in each, the cells next to the line of those proportions are looked into.
        """
        first_row, first_column = _cell(need.cpus_milli, need.memory_bytes)
        rows = self.rows >> first_row
        columns = self.columns
        best: Machine | None = None
        best_score, compared = 0, 0
        row = first_row - 1
        while rows and compared < _COMPARED:
            step = (rows & -rows).bit_length()
            rows >>= step
            row += step
            able = columns[row] >> first_column
            if not able:
                continue
            even = max(row * CPUS_MILLI - need.cpus_milli, 0) * bytes_per_milli + need.memory_bytes
            found = self._in_row(row, first_column, able, need, even >> MEMORY_SHIFT)
            if found is not None:
                cpus = found.cpus_milli - need.cpus_milli
                memory = (found.memory_bytes - need.memory_bytes) // bytes_per_milli
                odd_now = abs(found.cpus_milli - found.memory_bytes // bytes_per_milli)
                score = _ODD * (abs(cpus - memory) - odd_now) + cpus + memory
                if best is None or score < best_score:
                    best, best_score = found, score
                compared += 1
        return best

    def _in_row(self, row: int, first_column: int, able: int, need: Need, even: int) -> Machine | None:
        """Return a worker that fits: from the column `even` on, or else below it, or else wherever there is one."""
        split = min(max(even - first_column, 0), _COLUMNS_MAX)
        above, below = able >> split, able & ((1 << split) - 1)
        if above:
            column = first_column + split + (above & -above).bit_length() - 1
            found = _first(self.cells[row, column], need)
            if found is not None:
                return found
        if below:
            found = _first(self.cells[row, first_column + below.bit_length() - 1], need)
            if found is not None:
                return found
        while able:
            low = able & -able
            able ^= low
            found = _first(self.cells[row, first_column + low.bit_length() - 1], need)
            if found is not None:
                return found
        return None


def _first(cell: Cell, need: Need) -> Machine | None:
    cpus, memory, disk = need.cpus_milli, need.memory_bytes, need.disk_bytes
    for state, alike in cell.items():
        if state[0] >= cpus and state[1] >= memory and state[3] >= disk:
            return next(iter(alike.values()))
    return None


def _cell(cpus_milli: int, memory_bytes: int) -> tuple[int, int]:
    """Return row and column; what a worker promised too much of counts as none."""
    row, column = cpus_milli // CPUS_MILLI, memory_bytes >> MEMORY_SHIFT
    return min(max(row, 0), _ROWS_MAX), min(max(column, 0), _COLUMNS_MAX)


class Rooms:
    """All workers that may be given work now; `put` after each change, and `take_out` when it may get none."""

    __slots__ = ("_counts", "_grids", "bytes_per_milli")

    def __init__(self) -> None:
        self.bytes_per_milli = 1 << 21  # memory to cpus, of the whole cluster
        self._grids: dict[int, Grid] = {}
        self._counts: list[int] = []  # the numbers of free GPUs that occur, in order

    def put(self, machine: Machine) -> None:
        state = (machine.cpus_milli, machine.memory_bytes, machine.gpus, machine.disk_bytes)
        if machine.state == state:
            return
        self.take_out(machine)
        grid = self._grids.get(machine.gpus)
        if grid is None:
            grid = self._grids[machine.gpus] = Grid()
            insort(self._counts, machine.gpus)
        grid.add(state, machine)
        machine.state = state

    def take_out(self, machine: Machine) -> None:
        state = machine.state
        if state is None:
            return
        machine.state = None
        grid = self._grids[state[2]]
        grid.remove(state, machine.view.worker_id)
        if not grid.rows:
            del self._grids[state[2]], self._counts[bisect_left(self._counts, state[2])]

    def choose(self, need: Need) -> Machine | None:
        """Return the best fit; workers with free GPUs are the last choice for work without."""
        for count in self._counts[bisect_left(self._counts, need.gpus) :]:
            machine = self._grids[count].choose(need, self.bytes_per_milli)
            if machine is not None:
                return machine
        return None
