//! Line 101: telephone numbers go to the trunk that takes them.

use confab_testkit::agent::Callee;
use serde_json::{Value, json};

use crate::dialling::{answers, dial, failed, joined, participant, rings};
use crate::fixture::{Room, SOON, site};

/// Makes a trunk that takes the numbers of one rule.
fn trunk(rule: &str, gateway: Value) -> String {
    let data = json!({"name": "Carrier", "rules": [rule], "gateways": [gateway]});
    let made = site().make("resources", data);
    made["id"].as_str().expect("an id").to_owned()
}

#[test]
fn line_101_a_telephone_number_goes_to_the_trunk_that_takes_it() {
    let room = Room::new(json!({}));
    // An address of its own: whoever calls from a gateway is the trunk.
    let address = "127.0.0.101:0".parse().expect("an address");
    let carrier = Callee::bound(address).expect("a gateway");
    let server = carrier.address();
    let id = trunk(
        "^\\+14158867900$",
        json!({"server": server.ip().to_string(), "port": server.port()}),
    );
    for dialled in ["4158867900", "+14158867900", "(415) 886-7900"] {
        let call = dial(
            &room,
            json!({"endpoints": [dialled], "caller_id_number": "+4930123456", "caller_id_name": "Board"}),
        );
        let at_carrier = rings(&carrier);
        assert_eq!(
            at_carrier.invite.start_line,
            format!("INVITE sip:+14158867900@{server} SIP/2.0")
        );
        let from = at_carrier.invite.header("From").expect("From");
        assert!(from.contains("<sip:+4930123456@127.0.0.101>"), "{from}");
        let stream = answers(&room, &at_carrier);
        let entry = joined(call);
        assert_eq!(entry["endpoint_id"], dialled);
        let he = participant(&room, &entry);
        assert_eq!(he["caller_id_number"], "+14158867900");
        assert_eq!(he["custom_channel_vars"]["resource_id"], id.as_str());
        at_carrier.hang_up().expect("answered");
        drop(stream);
    }
    // What no trunk takes does not ring there.
    assert_eq!(
        failed(dial(&room, json!({"endpoints": ["4158867901"]}))),
        "NO_ROUTE_DESTINATION"
    );
    assert_eq!(carrier.calls(), 3);
    assert!(carrier.wait_call(SOON / 50).is_err());
}
