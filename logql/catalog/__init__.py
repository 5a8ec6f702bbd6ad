"""What exists in a history and what is missing: schema, virtual columns and their placements, coverage by replays."""
