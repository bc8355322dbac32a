//! Real phones and proxies of others call in, are called, and are heard both ways: baresip, linphone, twinkle, SIPp and Kamailio.
//!
//! What runs here wants programs that the other tests do without; `tests/interop/run` installs them and runs everything, or the tests whose names
//! begin with what it is given.

mod baresip;
mod kamailio;
mod linphone;
mod peers;
mod site;
mod twinkle;
