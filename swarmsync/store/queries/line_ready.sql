-- Dispatcher: lines that wait for nothing any more. $1 lines
WITH gone AS (
    DELETE FROM waiting_lines WHERE line = ANY ($1::bigint[]) RETURNING line
)
INSERT INTO line_reasons (line, reason) SELECT line, '' FROM gone
