"""The attempts of jobs that are over, wherever they are kept.

An attempt ends with a record in `assignments`, unless its job succeeded with it: then the job's own row says all that
the record would, and stays so, since a final state is final. Jobs of before migration 0019 have both.
"""

from typing import Final

from swarmsync.model.lifecycle import JobState

#: Stands where the table `assignments` would, and has its columns; to be asked for jobs by their ids.
ATTEMPTS: Final = f"""(
    SELECT job_id, fence, user_id, worker_id, state, outcome, reason, message, exit_code, offered_at, started_at,
        ended_at, superseded, result FROM assignments
    UNION ALL
    SELECT o.id, o.fence, o.user_id, o.worker_id, 'ended', o.state, o.reason, o.message, o.exit_code, o.offered_at,
        o.started_at, o.finished_at, 0, o.result
    FROM jobs o WHERE o.state = '{JobState.SUCCEEDED}' AND o.fence > 0 AND o.worker_id IS NOT NULL
        AND NOT EXISTS (SELECT FROM assignments k WHERE k.job_id = o.id AND k.fence = o.fence))"""  # noqa: S608 constants
