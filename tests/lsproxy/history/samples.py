"""Samples of one pool, and the bulk of a large site."""

from lsproxy.history.grid import DAY, MINUTE, TEN_MINUTES, cell
from lsproxy.history.samples import FeatureSample, PoolSample, Sample

NOW = 1_790_000_000.0
POOLS, FEATURES = 5, 20


def sample(
    time,
    used=3,
    *,
    queued=0,
    issued=10,
    serving="lic-a",
    health="up",
    clients=7,
    waiting=0,
    pool="acme",
    unserved=0.0,
    down=0.0,
):
    """One pool with one feature and one backend."""
    seats = [FeatureSample("cad", issued, used, queued)]
    taken = PoolSample(pool, serving, clients, waiting, {"lic-a": health}, seats, unserved, {"lic-a": down})
    return Sample(time, [taken])


def fill(file, days):
    """What a site of POOLS pools with FEATURES features each leaves in `days`, written in one go."""
    connection = file._opened()
    pools = {f"pool-{number}" for number in range(POOLS)}
    names = {
        name: file._id(connection, name) for name in [*pools, "a", "b", *(f"f-{number}" for number in range(FEATURES))]
    }
    connection.execute("BEGIN")
    for grid, kept in ((MINUTE, min(days, 7)), (TEN_MINUTES, days)):
        cells = range(cell(NOW - kept * DAY, grid), int(NOW), grid)
        for pool in pools:
            where = grid, names[pool]
            connection.executemany(
                "INSERT INTO seats VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (*where, time, names[f"f-{number}"], (time // grid + number) % 50, 3, 0, 50)
                    for time in cells
                    for number in range(FEATURES)
                ),
            )
            connection.executemany(
                "INSERT INTO pools VALUES (?, ?, ?, ?, ?, ?, ?)",
                ((*where, time, names["a"], 100, 0, 0) for time in cells),
            )
            connection.executemany(
                "INSERT INTO health VALUES (?, ?, ?, ?, ?, ?)",
                ((*where, time, names[backend], 0, 0) for time in cells for backend in "ab"),
            )
    connection.execute("COMMIT")
