"""PostgreSQL and Redis: `pool.py` opens, `migrate.py` shapes, one module per table family reads and writes.

Every change of a job's state is one guarded statement whose source states come from `model/lifecycle.py`.
"""
