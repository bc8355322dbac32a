-- The files of media documents. What a file is stands apart from its bytes, so that asking for the one reads none of the other.
CREATE TABLE media_files (
    account_id   TEXT COLLATE "C" NOT NULL,
    kind         TEXT COLLATE "C" NOT NULL DEFAULT 'media' CHECK (kind = 'media'),
    media_id     TEXT COLLATE "C" NOT NULL,
    content_type TEXT COLLATE "C" NOT NULL,
    length       BIGINT NOT NULL,                             -- bytes
    sha256       TEXT COLLATE "C" NOT NULL,                   -- of the bytes, lower-case hex
    PRIMARY KEY (account_id, media_id),
    FOREIGN KEY (account_id, kind, media_id) REFERENCES documents (account_id, kind, id) ON DELETE CASCADE
);

-- Their bytes, in parts of one size, so that no reader has to hold a whole file.
CREATE TABLE media_parts (
    account_id TEXT COLLATE "C" NOT NULL,
    media_id   TEXT COLLATE "C" NOT NULL,
    part       BIGINT NOT NULL,                               -- counted from 0
    bytes      BYTEA NOT NULL,
    PRIMARY KEY (account_id, media_id, part),
    FOREIGN KEY (account_id, media_id) REFERENCES media_files (account_id, media_id) ON DELETE CASCADE
);

-- Audio does not compress: PostgreSQL need not try.
ALTER TABLE media_parts ALTER COLUMN bytes SET STORAGE EXTERNAL;
