//! Arbitrary sequences of messages, commands and time: the endpoint never panics and never keeps anything.

use std::time::Instant;

use confab_sip::fuzz_endpoint;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn any_sequence_of_operations_leaves_the_endpoint_idle(data in proptest::collection::vec(any::<u8>(), 0..600)) {
        fuzz_endpoint(Instant::now(), &data);
    }
}
