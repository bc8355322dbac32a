//! The HTTP interface: envelope, authentication, resources.
