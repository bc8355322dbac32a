//! How many files this process may have open: two sockets a call, one a connection.
//!
//! Shells and containers often start programs with 1024, which ends at some 500 calls; the hard limit is mostly far above.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit to what the system allows. Returns it; `None` when there is none.
pub(crate) fn raise_limit() -> Option<u64> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    // Refused at most where it changes nothing: lowering the hard limit is always allowed, keeping it as well.
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_hard_one_afterwards() {
        assert_eq!(raise_limit(), getrlimit(Resource::Nofile).maximum);
    }
}
