-- Harvester: what a verdict must know of these assignments; rows whose fence has moved on are not there.
-- $1 job ids, $2 fences
SELECT j.id, j.fence, j.tries, j.crashes, j.stop_reason, s.document
FROM unnest($1::bigint[], $2::bigint[]) AS i (id, fence)
JOIN jobs j ON j.id = i.id AND j.fence = i.fence AND j.state || '' IN ('starting', 'running', 'stopping')
JOIN specs s ON s.id = j.spec_id
