-- Harvester: from where to tail the events; everything older is in the rows that the Scheduler loads after this.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text
