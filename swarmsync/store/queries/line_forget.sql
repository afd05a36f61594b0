-- Logger: drop the history of lines' reasons that is older than so many days; the reason that a line still has stays.
-- $1 days
DELETE FROM line_reasons r
WHERE r.since < clock_timestamp() - $1 * interval '1 day'
  AND (NOT EXISTS (SELECT FROM waiting_lines w WHERE w.line = r.line)
       OR EXISTS (SELECT FROM line_reasons n WHERE n.line = r.line AND n.since > r.since))
