-- Logger: notes since when webhooks fail, and switches off the dead. $1 failed, $2 gone (410), $3 days of failing
WITH noted AS (
    UPDATE webhooks w
    SET failing_since = COALESCE(w.failing_since, clock_timestamp()),
        enabled = NOT (w.id = ANY ($2::bigint[])
            OR COALESCE(w.failing_since < clock_timestamp() - make_interval(days => $3), false)),
        disabled_reason = CASE
            WHEN w.id = ANY ($2::bigint[]) THEN 'the address answered 410 Gone'
            WHEN w.failing_since < clock_timestamp() - make_interval(days => $3)
                THEN format('nothing was delivered for %s days', $3::int)
            ELSE '' END
    WHERE w.id = ANY ($1::bigint[] || $2::bigint[]) AND w.enabled
    RETURNING w.id, w.enabled, w.disabled_reason
)
SELECT id, disabled_reason FROM noted WHERE NOT enabled
