"""The research group's PostgreSQL database: connecting, the schema, and the rows of each clip."""
