-- Where devices are reached, so that a restart forgets none: bindings of the registrar.
CREATE TABLE registrations (
    server     TEXT COLLATE "C" NOT NULL,                     -- whose they are: the server's own id
    account_id TEXT COLLATE "C" NOT NULL,
    device_id  TEXT COLLATE "C" NOT NULL,
    binding    BIGINT NOT NULL,                               -- the registrar's number for it
    expires    BIGINT NOT NULL,                               -- Gregorian seconds
    body       TEXT COLLATE "C" NOT NULL,                     -- JSON
    PRIMARY KEY (server, account_id, device_id, binding)
);

-- How changes are found, those of other servers among them.
CREATE INDEX documents_by_time ON documents (kind, modified);
