"""Workers by what they have free: which fits a need best, without an index for each shape.

Best is what leaves cpus and memory in the proportions of the whole cluster, and little of both: memory without cpus is
of no use to anybody, nor are cpus without memory. Tightest alone placed 0.89 of the cpus asked for in `bench
placement` with 1,000 workers; this places 0.93 to 0.95.

Per number of free GPUs there is a grid of cells, half a cpu wide and a GiB of memory high; bit masks say which cells
have workers. A decision looks at a few rows of cells, beginning with the tightest; workers in the same state are as
one. Only cells on the edge of the need are looked into to see what fits; in all others everything does (but for disk).
What one search has found serves the next decisions of the same need, too (`Near`, decision 45).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from itertools import islice
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
_COLUMN_BITS: Final = 13
_COLUMNS_MAX: Final = (1 << _COLUMN_BITS) - 1
#: How many rows are compared once something fits.
_COMPARED: Final = 8
_COMPARED_MIN: Final = 4
#: One search serves so many further decisions of its need, while so many are made in all, and what it found is still as
#: good as the best of it was, or but for so little worse (thousandths of a cpu).
_USES_MAX: Final = 40
_CHOICES_MAX: Final = 400
_AS_GOOD: Final = 12_000
#: Of so many needs is remembered that nobody has room for them.
_MISSES_MAX: Final = 64

State = tuple[int, int, int, int]


class Cell:
    """Workers of about the same room, by how much exactly, and the most of it: at least what any of them has."""

    __slots__ = ("cpus_milli", "memory_bytes", "states")

    def __init__(self) -> None:
        self.states: dict[State, dict[int, Machine]] = {}
        self.cpus_milli = self.memory_bytes = 0

    def first(self, need: Need) -> Machine | None:
        """Return a worker that fits."""
        cpus, memory, disk = need.cpus_milli, need.memory_bytes, need.disk_bytes
        if self.cpus_milli < cpus or self.memory_bytes < memory:
            return None
        for state, alike in self.states.items():
            if state[0] >= cpus and state[1] >= memory and state[3] >= disk:
                for machine in alike.values():
                    return machine
        self.cpus_milli = max(state[0] for state in self.states)
        self.memory_bytes = max(state[1] for state in self.states)
        return None


class Near:
    """What the last search for one need found: the next decisions of that need look there first."""

    __slots__ = ("alike", "found_score", "last", "last_score", "machines", "state", "until", "uses")

    def __init__(self) -> None:
        self.machines: list[Machine] = []  # all that were compared
        self.found_score = 0  # of the best of them
        self.alike: list[Machine] = []  # others that were in the state of that best, and so were as good
        self.state: State | None = None
        self.last: Machine | None = None  # who was chosen last, and how good that was
        self.last_score = 0
        self.uses = 0
        self.until = 0


class Grid:
    """The workers with one number of free GPUs."""

    __slots__ = ("cells", "columns", "rows")

    def __init__(self) -> None:
        self.rows = 0  # bit r: row r has workers
        self.columns: dict[int, int] = {}  # row -> bit c: column c of it has workers
        self.cells: dict[int, Cell] = {}  # by row and column in one number

    def add(self, place: int, state: State, machine: Machine) -> None:
        cell = self.cells.get(place)
        if cell is None:
            cell = self.cells[place] = Cell()
            row, column = place >> _COLUMN_BITS, place & _COLUMNS_MAX
            self.rows |= 1 << row
            self.columns[row] = self.columns.get(row, 0) | 1 << column
        alike = cell.states.get(state)
        if alike is not None:
            alike[machine.view.worker_id] = machine
            return
        cell.states[state] = {machine.view.worker_id: machine}
        cell.cpus_milli = max(cell.cpus_milli, state[0])
        cell.memory_bytes = max(cell.memory_bytes, state[1])

    def remove(self, place: int, state: State, worker_id: int) -> None:
        cell = self.cells[place]
        alike = cell.states[state]
        del alike[worker_id]
        if alike:
            return
        del cell.states[state]
        if cell.states:
            return
        del self.cells[place]
        row, column = place >> _COLUMN_BITS, place & _COLUMNS_MAX
        left = self.columns[row] & ~(1 << column)
        if left:
            self.columns[row] = left
        else:
            del self.columns[row]
            self.rows &= ~(1 << row)

    def search(self, need: Need, bytes_per_milli: int) -> tuple[Machine | None, int, list[Machine]]:
        """Return the best fit of the tightest rows, its score, and all that were compared, at most one of each row.

        Less is better: the worker whose room this makes the least odd, by the proportions of the cluster, and then is
        little. In a row, the cell next to the line of those proportions is looked into.
        """
        cpus_milli, memory_bytes = need.cpus_milli, need.memory_bytes
        first_row, first_column = _row(cpus_milli), _column(memory_bytes)
        # What is left cannot become less odd than by the need's own oddness: no score is below a row's cpus less this.
        at_best = cpus_milli + _ODD * abs(cpus_milli - memory_bytes // bytes_per_milli)
        rows, columns = self.rows >> first_row, self.columns
        best: Machine | None = None
        best_score = 0
        compared: list[Machine] = []
        row = first_row - 1
        while rows and len(compared) < _COMPARED:
            step = (rows & -rows).bit_length()
            rows >>= step
            row += step
            floor = row * CPUS_MILLI
            if best is not None and floor - at_best >= best_score and len(compared) >= _COMPARED_MIN:
                break
            able = columns[row] >> first_column
            if not able:
                continue
            even = memory_bytes if floor <= cpus_milli else (floor - cpus_milli) * bytes_per_milli + memory_bytes
            split = (even >> MEMORY_SHIFT) - first_column
            machine = self._in_row(row << _COLUMN_BITS | first_column, able, need, split)
            if machine is None:
                continue
            compared.append(machine)
            score = odd(machine, cpus_milli, memory_bytes, bytes_per_milli)
            if best is None or score < best_score:
                best, best_score = machine, score
        return best, best_score, compared

    def alike(self, machine: Machine, limit: int) -> list[Machine]:
        """Return others in the same state as the first that is in it, at most so many."""
        assert machine.state is not None
        alike = self.cells[machine.place].states[machine.state]
        return list(islice(alike.values(), 1, 1 + limit)) if len(alike) > 1 else []

    def _in_row(self, base: int, able: int, need: Need, split: int) -> Machine | None:
        """Return a worker that fits: from the column `split` on, or else below it, or else wherever there is one.

        Columns are counted from `base` on; `able` says which of them have workers.
        """
        split = 0 if split < 0 else min(_COLUMNS_MAX, split)
        cells = self.cells
        above = able >> split
        if above:
            found = cells[base + split + (above & -above).bit_length() - 1].first(need)
            if found is not None:
                return found
        below = able & ((1 << split) - 1)
        if below:
            found = cells[base + below.bit_length() - 1].first(need)
            if found is not None:
                return found
        while able:
            low = able & -able
            able ^= low
            found = cells[base + low.bit_length() - 1].first(need)
            if found is not None:
                return found
        return None


def odd(machine: Machine, cpus_milli: int, memory_bytes: int, bytes_per_milli: int) -> int:
    """Score a worker that has room for so much; less is better."""
    cpus, memory = machine.cpus_milli, machine.memory_bytes
    left, left_memory = cpus - cpus_milli, (memory - memory_bytes) // bytes_per_milli
    return _ODD * (abs(left - left_memory) - abs(cpus - memory // bytes_per_milli)) + left + left_memory


def _row(cpus_milli: int) -> int:
    """Return the row of a worker or need; what a worker promised too much of counts as none."""
    row = cpus_milli // CPUS_MILLI
    return 0 if row < 0 else min(_ROWS_MAX, row)


def _column(memory_bytes: int) -> int:
    column = memory_bytes >> MEMORY_SHIFT
    return 0 if column < 0 else min(_COLUMNS_MAX, column)


class Rooms:
    """All workers that may be given work now.

    `put` one after each job that it gets, and `grew` after all else; `take_out` it when it may get none.

    A worker moves to the cell of its present room only when a search looks at cells: of a flood most decisions do not.
    What had no room is remembered until some worker has more: whatever needs as much of everything is not searched for.
    """

    __slots__ = ("_choices", "_counts", "_grids", "_misses", "_moved", "bytes_per_milli")

    def __init__(self) -> None:
        self.bytes_per_milli = 1 << 21  # memory to cpus, of the whole cluster
        self._grids: dict[int, Grid] = {}
        self._counts: list[int] = []  # the numbers of free GPUs that occur, in order
        self._choices = 0
        self._moved: dict[Machine, None] = {}  # put since the last search
        self._misses: list[State] = []  # since a worker grew; none of them needs as much of everything as another

    def put(self, machine: Machine) -> None:
        """The worker has less room than it had."""
        self._moved[machine] = None

    def grew(self, machine: Machine) -> None:
        """The worker may have more room than it had, or is new here."""
        self._moved[machine] = None
        self._misses.clear()

    def _move(self, machine: Machine) -> None:
        state = (machine.cpus_milli, machine.memory_bytes, machine.gpus, machine.disk_bytes)
        if machine.state == state:
            return
        self._remove(machine)
        grid = self._grids.get(machine.gpus)
        if grid is None:
            grid = self._grids[machine.gpus] = Grid()
            insort(self._counts, machine.gpus)
        place = _row(state[0]) << _COLUMN_BITS | _column(state[1])
        grid.add(place, state, machine)
        machine.state, machine.place = state, place

    def take_out(self, machine: Machine) -> None:
        self._moved.pop(machine, None)
        self._remove(machine)

    def _remove(self, machine: Machine) -> None:
        state = machine.state
        if state is None:
            return
        machine.state = None
        grid = self._grids[state[2]]
        grid.remove(machine.place, state, machine.view.worker_id)
        if not grid.rows:
            del self._grids[state[2]], self._counts[bisect_left(self._counts, state[2])]

    def choose(self, need: Need, near: Near | None = None) -> Machine | None:
        """Return the best fit; workers with free GPUs are the last choice for work without.

        With `near`, what the last search for this need found is looked at first, and is as good for some decisions.
        """
        self._choices += 1
        if near is not None and near.uses > 0 and self._choices < near.until:
            machine = self._again(need, near)
            if machine is not None:
                return machine
        if self._misses and self._known_miss(need):
            if near is not None:
                near.uses = 0
            return None
        if self._moved:
            for moved in self._moved:
                self._move(moved)
            self._moved.clear()
        for count in self._counts[bisect_left(self._counts, need.gpus) :]:
            best, score, compared = self._grids[count].search(need, self.bytes_per_milli)
            if best is not None:
                if near is not None:
                    near.machines, near.found_score = compared, score
                    # Of workers with more GPUs than that, the one that has been begun comes before its twins.
                    near.alike = self._grids[count].alike(best, _USES_MAX) if count == need.gpus else []
                    near.state = best.state
                    near.last, near.last_score = best, score
                    near.uses, near.until = _USES_MAX, self._choices + _CHOICES_MAX
                return best
        if near is not None:
            near.uses = 0
        self._miss(need)
        return None

    def _miss(self, need: Need) -> None:
        """Remember that nobody has room for it; and no longer what asks for as much."""
        cpus, memory, gpus, disk = need.cpus_milli, need.memory_bytes, need.gpus, need.disk_bytes
        self._misses = [
            miss
            for miss in self._misses
            if not (miss[0] >= cpus and miss[1] >= memory and miss[2] >= gpus and miss[3] >= disk)
        ]
        if len(self._misses) < _MISSES_MAX:
            self._misses.append((cpus, memory, gpus, disk))

    def _known_miss(self, need: Need) -> bool:
        cpus_milli, memory_bytes, gpus, disk_bytes = need.cpus_milli, need.memory_bytes, need.gpus, need.disk_bytes
        for cpus, memory, of_gpus, disk in self._misses:
            if cpus_milli >= cpus and memory_bytes >= memory and gpus >= of_gpus and disk_bytes >= disk:
                return True
        return False

    def _again(self, need: Need, near: Near) -> Machine | None:
        """Return one that is about as good as what the last search found was, as it is now, or None.

        That is who was chosen last, where what it got has made it better, for then little is left of it; or one of
        those that were like the best; or the best of what was compared, where that is good enough.
        """
        cpus_milli, memory_bytes, gpus, disk_bytes = need.cpus_milli, need.memory_bytes, need.gpus, need.disk_bytes
        bytes_per_milli = self.bytes_per_milli
        best: Machine | None = None
        best_score = near.found_score + _AS_GOOD
        last = near.last
        for machine in (last, *near.machines):
            if (
                machine is not None
                and machine.cpus_milli >= cpus_milli
                and machine.memory_bytes >= memory_bytes
                and machine.gpus == gpus
                and machine.disk_bytes >= disk_bytes
                and machine.state is not None
            ):
                score = odd(machine, cpus_milli, memory_bytes, bytes_per_milli)
                if score <= best_score:
                    best, best_score = machine, score
            if machine is last:
                if best is not None and best_score <= near.last_score:
                    break
                if near.alike and (other := _unchanged(near)) is not None:
                    best, best_score = other, near.found_score
                    break
        if best is not None:
            near.uses -= 1
            near.last, near.last_score = best, best_score
        return best


def _unchanged(near: Near) -> Machine | None:
    """Take one that is still in the state of the best that was found."""
    while near.alike:
        machine = near.alike.pop()
        now = (machine.cpus_milli, machine.memory_bytes, machine.gpus, machine.disk_bytes)
        if now == near.state and machine.state is not None:
            return machine
    return None
