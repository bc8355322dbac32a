//! The conference as a state machine: roster, roles, admission, controls, events.
