-- Harvester, slow pulse: for people to see; nothing is decided from it. $1 worker ids, $2 milliseconds ago
UPDATE workers w SET last_pulse_at = clock_timestamp() - i.ago_ms * interval '1 millisecond'
FROM unnest($1::bigint[], $2::bigint[]) AS i (id, ago_ms) WHERE w.id = i.id
