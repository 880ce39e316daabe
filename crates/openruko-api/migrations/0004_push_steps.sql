-- What the steps of a push took, as openruko-serve told it at the end.
CREATE TABLE push_steps (
    push_id TEXT NOT NULL PRIMARY KEY REFERENCES pushes (id) ON DELETE CASCADE,
    steps   TEXT NOT NULL -- JSON
);
CREATE INDEX pushes_of_user ON pushes (user_name, id);
