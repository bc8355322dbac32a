-- Facts about this store as a whole: the key check and the id of the bootstrap account.
CREATE TABLE server_facts (
    name  TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
);

-- Tenants. A tree: the bootstrap account has no parent and may act on every account.
CREATE TABLE accounts (
    id             TEXT PRIMARY KEY NOT NULL,
    parent_id      TEXT REFERENCES accounts (id),
    name           TEXT NOT NULL,
    realm          TEXT NOT NULL,                -- lower case
    language       TEXT NOT NULL,
    api_key_sha256 TEXT NOT NULL UNIQUE,         -- lower-case hex; how a key is looked up
    api_key_sealed TEXT NOT NULL,                -- the key itself, sealed
    created        INTEGER NOT NULL,             -- Gregorian seconds
    modified       INTEGER NOT NULL,
    UNIQUE (realm)
);

CREATE INDEX accounts_by_parent ON accounts (parent_id);

-- Every JSON document of an account. Deleted documents stay, marked, so that their revision goes on counting.
CREATE TABLE documents (
    account_id TEXT NOT NULL REFERENCES accounts (id),
    kind       TEXT NOT NULL,                    -- 'conference' or 'user'
    id         TEXT NOT NULL,
    saves      INTEGER NOT NULL,                 -- the N of revision N-hash
    hash       TEXT NOT NULL,                    -- the hash of revision N-hash
    created    INTEGER NOT NULL,
    modified   INTEGER NOT NULL,
    deleted    INTEGER NOT NULL DEFAULT 0,
    body       TEXT NOT NULL,                    -- JSON without id; secrets in it are sealed
    PRIMARY KEY (account_id, kind, id)
);

-- Which conference a number reaches. One row per number: a number belongs to one conference of an account, but may
-- stand in several lists of that conference.
CREATE TABLE conference_numbers (
    account_id    TEXT NOT NULL,
    number        TEXT NOT NULL,
    kind          TEXT NOT NULL DEFAULT 'conference' CHECK (kind = 'conference'),
    conference_id TEXT NOT NULL,
    for_anyone    INTEGER NOT NULL,              -- in conference_numbers: the role is decided by PIN
    for_members   INTEGER NOT NULL,              -- in member.numbers
    for_moderators INTEGER NOT NULL,             -- in moderator.numbers
    PRIMARY KEY (account_id, number),
    FOREIGN KEY (account_id, kind, conference_id) REFERENCES documents (account_id, kind, id) ON DELETE CASCADE
);

CREATE INDEX conference_numbers_by_conference ON conference_numbers (account_id, conference_id);

-- How users prove who they are: argon2id of the MD5 and of the SHA-1 of username:password, never the password.
CREATE TABLE user_passwords (
    account_id    TEXT NOT NULL,
    kind          TEXT NOT NULL DEFAULT 'user' CHECK (kind = 'user'),
    user_id       TEXT NOT NULL,
    username      TEXT NOT NULL,                 -- lower case
    md5_verifier  TEXT NOT NULL,                 -- PHC string
    sha1_verifier TEXT NOT NULL,                 -- PHC string
    PRIMARY KEY (account_id, user_id),
    UNIQUE (account_id, username),
    FOREIGN KEY (account_id, kind, user_id) REFERENCES documents (account_id, kind, id) ON DELETE CASCADE
);
