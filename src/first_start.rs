//! What an operator is shown once, when an empty store was started for the first time.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use confab_documents::FirstStart;

/// Returns the text for standard error. `http` and `sip` are the addresses bound; `reached_at` is the address that
/// phones on the network use.
pub(crate) fn notice(first: &FirstStart, http: SocketAddr, sip: SocketAddr, reached_at: IpAddr) -> String {
    let base = format!("http://{}", reachable(http, IpAddr::V4(Ipv4Addr::LOCALHOST)));
    let account = format!("{base}/v2/accounts/{}", first.account_id);
    let token = format!(
        "$(curl -s -X PUT {base}/v2/api_auth -d '{{\"data\":{{\"api_key\":\"{}\"}}}}' \
         | sed 's/.*\"auth_token\":\"\\([^\"]*\\)\".*/\\1/')",
        first.api_key
    );
    let mut text = format!(
        "First start: this is shown once.\n  \
           account    {} ({})\n  \
           realm      {}\n  \
           API key    {}\n  \
           user       {} with password {}\n  \
           API        {base}/v2\n",
        first.account_id, first.account_name, first.realm, first.api_key, first.username, first.password
    );
    let path = match &first.conference {
        Some((conference, number)) => {
            let host = reachable(sip, reached_at);
            let host = host.strip_suffix(":5060").unwrap_or(&host);
            let _ = writeln!(text, "  conference {conference} (number {number})");
            let _ = writeln!(text, "  dial       sip:{number}@{host}");
            format!("{account}/conferences/{conference}/participants")
        }
        None => format!("{account}/conferences"),
    };
    let _ = writeln!(
        text,
        "  try        curl -s -H \"X-Auth-Token: {token}\" '{path}?pretty_print=true'"
    );
    text
}

/// `bound` with a wildcard address replaced by `instead`.
fn reachable(bound: SocketAddr, instead: IpAddr) -> String {
    let ip = match (bound.ip().is_unspecified(), instead) {
        (false, _) => bound.ip(),
        (true, IpAddr::V4(_)) if bound.is_ipv6() => Ipv6Addr::LOCALHOST.into(),
        (true, instead) => instead,
    };
    SocketAddr::new(ip, bound.port()).to_string()
}

#[cfg(test)]
mod tests {
    use confab_conference::{AccountId, ConferenceId};

    use super::*;

    #[test]
    fn the_notice_has_what_a_first_call_needs_and_default_ports_are_left_out() {
        let first = FirstStart {
            account_id: AccountId::from("a1"),
            account_name: "default".to_owned(),
            realm: "r".to_owned(),
            api_key: "KEY".to_owned(),
            username: "admin".to_owned(),
            password: "secret".to_owned(),
            conference: Some((ConferenceId::from("c1"), "3000".to_owned())),
        };
        let any = |port| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
        let text = notice(&first, any(8000), any(5060), "192.0.2.7".parse().unwrap());
        for part in [
            "sip:3000@192.0.2.7\n",
            "API key    KEY\n",
            "conference c1 (number 3000)\n",
            "curl -s -X PUT http://127.0.0.1:8000/v2/api_auth",
            "http://127.0.0.1:8000/v2/accounts/a1/conferences/c1/participants",
        ] {
            assert!(text.contains(part), "{part} not in {text}");
        }
        let text = notice(&first, any(8000), any(5070), "192.0.2.7".parse().unwrap());
        assert!(text.contains("sip:3000@192.0.2.7:5070\n"), "{text}");
    }
}
