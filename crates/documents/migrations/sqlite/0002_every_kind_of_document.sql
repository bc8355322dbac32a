-- What of an account's document others look it up by. The document itself stands in `documents`, kind 'account'.
ALTER TABLE accounts ADD COLUMN name_key TEXT NOT NULL DEFAULT '';      -- the name's letters and digits, lower case
ALTER TABLE accounts ADD COLUMN enabled  INTEGER NOT NULL DEFAULT 1;
ALTER TABLE accounts ADD COLUMN deleted  INTEGER NOT NULL DEFAULT 0;

CREATE INDEX accounts_by_name ON accounts (name_key);

INSERT INTO documents (account_id, kind, id, saves, hash, created, modified, deleted, body)
SELECT id, 'account', id, 1, id, created, modified, 0,
       json_object('name', name, 'realm', realm, 'language', language, 'enabled', json('true'))
FROM accounts;

-- Lists are sorted by sort_key and then by id. owner_id is the body's key of that name.
ALTER TABLE documents ADD COLUMN sort_key TEXT NOT NULL DEFAULT '';
ALTER TABLE documents ADD COLUMN owner_id TEXT;

UPDATE documents SET owner_id = body ->> '$.owner_id' WHERE kind = 'conference';

CREATE INDEX documents_in_order ON documents (account_id, kind, sort_key, id);
CREATE INDEX documents_by_owner ON documents (account_id, kind, owner_id, id);

-- Values that one document alone may have, within a scope such as a realm.
CREATE TABLE document_keys (
    name       TEXT NOT NULL,                    -- 'device.username', 'device.ip'
    scope      TEXT NOT NULL,
    value      TEXT NOT NULL,
    account_id TEXT NOT NULL,
    kind       TEXT NOT NULL,
    id         TEXT NOT NULL,
    PRIMARY KEY (name, scope, value),
    FOREIGN KEY (account_id, kind, id) REFERENCES documents (account_id, kind, id) ON DELETE CASCADE
);

CREATE INDEX document_keys_by_document ON document_keys (account_id, kind, id);

-- Eight bits of a keyed hash of what each verifier recognises: logins name no user, and a verifier is slow to ask.
-- NULL: unknown, the verifier is asked.
ALTER TABLE user_passwords ADD COLUMN md5_hint  INTEGER;
ALTER TABLE user_passwords ADD COLUMN sha1_hint INTEGER;
