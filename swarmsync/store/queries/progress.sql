-- Harvester: assignments that moved right. $1 job ids, $2 fences, $3 assignment states
UPDATE jobs j SET assignment_state = i.state
FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS i (id, fence, state)
WHERE j.id = i.id AND j.fence = i.fence AND j.state || '' IN ('starting', 'running', 'stopping')
  AND array_position(ARRAY ['offered', 'accepted', 'pulling', 'creating', 'running', 'stopping', 'collecting'], i.state)
    > array_position(ARRAY ['offered', 'accepted', 'pulling', 'creating', 'running', 'stopping', 'collecting'], j.assignment_state)
