-- Harvester: late news of retired fences; recorded, and nothing else. $1 job ids, $2 fences
UPDATE assignments a SET superseded = a.superseded + 1
FROM unnest($1::bigint[], $2::bigint[]) AS i (id, fence)
WHERE a.job_id = i.id AND a.fence = i.fence AND a.state = 'lost'
