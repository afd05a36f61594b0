-- Harvester, slow pulse and before a liveness is saved: for people to see; nothing is decided from it. What was seen of a
-- silent worker stays as it was told, although its age is a little off each time. $1 worker ids, $2 milliseconds ago
UPDATE workers w SET last_pulse_at = i.at
FROM (SELECT id, clock_timestamp() - ago_ms * interval '1 millisecond' AS at
      FROM unnest($1::bigint[], $2::bigint[]) AS u (id, ago_ms)) i
WHERE w.id = i.id AND (w.last_pulse_at IS NULL
    OR w.last_pulse_at NOT BETWEEN i.at - interval '500 milliseconds' AND i.at + interval '500 milliseconds')
