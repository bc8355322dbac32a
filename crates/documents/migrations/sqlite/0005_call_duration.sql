-- How long a call of an account may last, seconds: max_call_duration of its document.
ALTER TABLE accounts ADD COLUMN max_call_s INTEGER NOT NULL DEFAULT 86400;
