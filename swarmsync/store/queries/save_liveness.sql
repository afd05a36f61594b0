-- Harvester: $1 worker ids, $2 liveness
UPDATE workers w SET liveness = i.liveness
FROM unnest($1::bigint[], $2::text[]) AS i (id, liveness) WHERE w.id = i.id
