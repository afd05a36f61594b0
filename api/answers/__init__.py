"""What the API answers, document by document: the types that handlers make and that `/v1/openapi.json` publishes.

They are dicts on the wire and in the code (`TypedDict`), so a document costs nothing more than before. Moments are RFC
3339 in UTC, ids are text, amounts of memory are bytes. Readers pass over keys that they do not know: documents grow.
"""
