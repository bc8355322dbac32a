-- The files of media documents. What a file is stands apart from its bytes, so that asking for the one reads none of the other.
CREATE TABLE media_files (
    account_id   TEXT NOT NULL,
    kind         TEXT NOT NULL DEFAULT 'media' CHECK (kind = 'media'),
    media_id     TEXT NOT NULL,
    content_type TEXT NOT NULL,
    length       INTEGER NOT NULL,               -- bytes
    sha256       TEXT NOT NULL,                  -- of the bytes, lower-case hex
    PRIMARY KEY (account_id, media_id),
    FOREIGN KEY (account_id, kind, media_id) REFERENCES documents (account_id, kind, id) ON DELETE CASCADE
);

-- Their bytes, in parts of one size, so that no reader has to hold a whole file.
CREATE TABLE media_parts (
    account_id TEXT NOT NULL,
    media_id   TEXT NOT NULL,
    part       INTEGER NOT NULL,                 -- counted from 0
    bytes      BLOB NOT NULL,
    PRIMARY KEY (account_id, media_id, part),
    FOREIGN KEY (account_id, media_id) REFERENCES media_files (account_id, media_id) ON DELETE CASCADE
);
