//! SIP messages, transactions, dialogs and calls as sans-IO state machines.
