//! Session keys from a master key (RFC 3711 §4.3, with a key derivation rate of 0: once for the life of the key).

use crate::cipher::{CounterMode, SALT_LEN};
use crate::key::MasterKey;

/// Which of the six session keys (RFC 3711 §4.3.2).
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(crate) enum Label {
    RtpKey = 0,
    RtpAuthentication = 1,
    RtpSalt = 2,
    RtcpKey = 3,
    RtcpAuthentication = 4,
    RtcpSalt = 5,
}

/// Where the label stands in the salt: key_id is 56 bits at its end, the label before the index of 48.
const LABEL_AT: usize = SALT_LEN - 7;

/// Fills `out` with a session key: the key stream of the master key with the label in its salt. Salts of 96 bits (RFC 7714 §11) are followed by zeros.
pub(crate) fn derive(master: &MasterKey, label: Label, out: &mut [u8]) {
    let mut salt = [0; SALT_LEN];
    salt[..master.salt().len()].copy_from_slice(master.salt());
    salt[LABEL_AT] ^= label as u8;
    let mut iv = [0; 16];
    iv[..SALT_LEN].copy_from_slice(&salt);
    out.fill(0);
    CounterMode::new(master.key()).apply(iv, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::Suite;

    fn check(suite: Suite, master: &str, rows: &[(Label, &str)]) {
        let master = MasterKey::new(suite, &hex::decode(master).expect("hex")).expect("a key");
        for (label, expected) in rows {
            let expected = hex::decode(expected).expect("hex");
            let mut out = vec![0xaa; expected.len()];
            derive(&master, *label, &mut out);
            assert_eq!(out, expected, "{suite:?} {label:?}");
        }
    }

    #[test]
    fn rfc_3711_b_3() {
        check(
            Suite::AesCm128HmacSha1_80,
            "E1F97A0D3E018BE0D64FA32C06DE41390EC675AD498AFEEBB6960B3AABE6",
            &[
                (Label::RtpKey, "C61E7A93744F39EE10734AFE3FF7A087"),
                (Label::RtpSalt, "30CBBC08863D8C85D49DB34A9AE1"),
                (
                    Label::RtpAuthentication,
                    "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCEE049646C43D9327AD175578EF72270986371C10C9A369AC2F94A8C5FBCDDDC25\
                     6D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2",
                ),
            ],
        );
    }

    #[test]
    fn rfc_6188_7_4() {
        check(
            Suite::AesCm256HmacSha1_80,
            "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b63b04803de51ee7c96423ab5b78d2",
            &[
                (
                    Label::RtpKey,
                    "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4",
                ),
                (Label::RtpSalt, "fa31791685ca444a9e07c6c64e93"),
                (
                    Label::RtpAuthentication,
                    "fd9c32d39ed5fbb5a9dc96b30818454d1313dc05",
                ),
            ],
        );
    }
}
