-- Harvester: how these assignments stand, after a guarded write that did not pass. $1 job ids
SELECT id, fence, state, orders_epoch, orders_seq FROM jobs WHERE id = ANY ($1::bigint[])
