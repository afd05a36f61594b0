-- Harvester, slow sweep: arrays that are not final although all their members are.
SELECT a.id FROM jobs a
WHERE a.array_size IS NOT NULL AND a.array_id IS NULL AND a.finished_at IS NULL
  AND NOT EXISTS (SELECT FROM jobs m WHERE m.array_id = a.id AND m.finished_at IS NULL)
LIMIT 1000
