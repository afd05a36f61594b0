-- Dispatcher, at its start: the orders that may never have gone out.
SELECT id, fence, worker_id FROM jobs WHERE state IN ('starting', 'stopping') AND assignment_state = 'offered' ORDER BY id
