//! Accounts and conference documents: schemas, validation, store.
