-- Where devices are reached, so that a restart forgets none: bindings of the registrar.
CREATE TABLE registrations (
    server     TEXT NOT NULL,                    -- whose they are: '' of SQLite, which one server has
    account_id TEXT NOT NULL,
    device_id  TEXT NOT NULL,
    binding    INTEGER NOT NULL,                 -- the registrar's number for it
    expires    INTEGER NOT NULL,                 -- Gregorian seconds
    body       TEXT NOT NULL,                    -- JSON
    PRIMARY KEY (server, account_id, device_id, binding)
);

-- How changes are found, those of other servers among them.
CREATE INDEX documents_by_time ON documents (kind, modified);
