-- The tables of the SQLite store, as its migrations leave them. Text compares by its bytes, whatever the database's
-- locale is. Every whole number and flag is a BIGINT: both databases then give the same types back.

CREATE TABLE server_facts (
    name  TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    value TEXT COLLATE "C" NOT NULL
);

-- Tenants. A tree: the bootstrap account has no parent and may act on every account.
CREATE TABLE accounts (
    id             TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    parent_id      TEXT COLLATE "C" REFERENCES accounts (id),
    name           TEXT COLLATE "C" NOT NULL,
    realm          TEXT COLLATE "C" NOT NULL UNIQUE,          -- lower case
    language       TEXT COLLATE "C" NOT NULL,
    api_key_sha256 TEXT COLLATE "C" NOT NULL UNIQUE,          -- lower-case hex; how a key is looked up
    api_key_sealed TEXT COLLATE "C" NOT NULL,                 -- the key itself, sealed
    created        BIGINT NOT NULL,                           -- Gregorian seconds
    modified       BIGINT NOT NULL,
    name_key       TEXT COLLATE "C" NOT NULL DEFAULT '',      -- the name's letters and digits, lower case
    enabled        BIGINT NOT NULL DEFAULT 1,
    deleted        BIGINT NOT NULL DEFAULT 0
);

CREATE INDEX accounts_by_parent ON accounts (parent_id);
CREATE INDEX accounts_by_name ON accounts (name_key);

-- Every JSON document of an account. Deleted documents stay, marked, so that their revision goes on counting.
CREATE TABLE documents (
    account_id TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    kind       TEXT COLLATE "C" NOT NULL,
    id         TEXT COLLATE "C" NOT NULL,
    saves      BIGINT NOT NULL,                               -- the N of revision N-hash
    hash       TEXT COLLATE "C" NOT NULL,                     -- the hash of revision N-hash
    created    BIGINT NOT NULL,
    modified   BIGINT NOT NULL,
    deleted    BIGINT NOT NULL DEFAULT 0,
    body       TEXT COLLATE "C" NOT NULL,                     -- JSON without id; secrets in it are sealed
    sort_key   TEXT COLLATE "C" NOT NULL DEFAULT '',          -- lists are sorted by it and then by id
    owner_id   TEXT COLLATE "C",                              -- the body's key of that name
    PRIMARY KEY (account_id, kind, id)
);

CREATE INDEX documents_in_order ON documents (account_id, kind, sort_key, id);
CREATE INDEX documents_by_owner ON documents (account_id, kind, owner_id, id);

-- Which conference a number reaches. One row per number: a number belongs to one conference of an account, but may
-- stand in several lists of that conference.
CREATE TABLE conference_numbers (
    account_id     TEXT COLLATE "C" NOT NULL,
    number         TEXT COLLATE "C" NOT NULL,
    kind           TEXT COLLATE "C" NOT NULL DEFAULT 'conference' CHECK (kind = 'conference'),
    conference_id  TEXT COLLATE "C" NOT NULL,
    for_anyone     BIGINT NOT NULL,                           -- in conference_numbers: the role is decided by PIN
    for_members    BIGINT NOT NULL,                           -- in member.numbers
    for_moderators BIGINT NOT NULL,                           -- in moderator.numbers
    PRIMARY KEY (account_id, number),
    FOREIGN KEY (account_id, kind, conference_id) REFERENCES documents (account_id, kind, id) ON DELETE CASCADE
);

CREATE INDEX conference_numbers_by_conference ON conference_numbers (account_id, conference_id);

-- Values that one document alone may have, within a scope such as a realm.
CREATE TABLE document_keys (
    name       TEXT COLLATE "C" NOT NULL,                     -- 'device.username', 'device.ip'
    scope      TEXT COLLATE "C" NOT NULL,
    value      TEXT COLLATE "C" NOT NULL,
    account_id TEXT COLLATE "C" NOT NULL,
    kind       TEXT COLLATE "C" NOT NULL,
    id         TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (name, scope, value),
    FOREIGN KEY (account_id, kind, id) REFERENCES documents (account_id, kind, id) ON DELETE CASCADE
);

CREATE INDEX document_keys_by_document ON document_keys (account_id, kind, id);

-- How users prove who they are: argon2id of the MD5 and of the SHA-1 of username:password, never the password.
CREATE TABLE user_passwords (
    account_id    TEXT COLLATE "C" NOT NULL,
    kind          TEXT COLLATE "C" NOT NULL DEFAULT 'user' CHECK (kind = 'user'),
    user_id       TEXT COLLATE "C" NOT NULL,
    username      TEXT COLLATE "C" NOT NULL,                  -- lower case
    md5_verifier  TEXT COLLATE "C" NOT NULL,                  -- PHC string
    sha1_verifier TEXT COLLATE "C" NOT NULL,                  -- PHC string
    md5_hint      BIGINT,                                     -- eight bits of a keyed hash of what it recognises
    sha1_hint     BIGINT,
    PRIMARY KEY (account_id, user_id),
    UNIQUE (account_id, username),
    FOREIGN KEY (account_id, kind, user_id) REFERENCES documents (account_id, kind, id) ON DELETE CASCADE
);
