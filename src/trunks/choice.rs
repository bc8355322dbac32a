//! Which gateways take a number, and in what order they are tried.
//!
//! Pure: handed the trunks, the number and the dice.

use std::sync::Arc;

use rand::{Rng, seq::SliceRandom as _};

use super::trunk::{Gateway, Trunk};

/// Gateways that one call is tried at.
pub(crate) const MOST: usize = 8;

/// A gateway that takes a number.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    /// Its trunk.
    pub(crate) trunk: Arc<Trunk>,
    pub(crate) gateway: Arc<Gateway>,
    /// What the trunk's rule leaves of the number: that is dialled.
    pub(crate) dialled: String,
}

/// A number, and what its call wants of a trunk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// The ways in which the number may be written, the likeliest first.
    pub(crate) forms: &'a [String],
    /// It is a number of the world: trunks without rules take those and no others.
    pub(crate) is_telephone: bool,
    /// It is one of the emergency services.
    pub(crate) is_emergency: bool,
    /// Tags that the trunk has to have. An emergency call asks for none.
    pub(crate) flags: &'a [String],
}

/// Returns the gateways of these trunks that take a number: those of the cheapest trunk first, of trunks that cost the same in any order,
/// so that they share the calls.
pub(super) fn of(mut trunks: Vec<Arc<Trunk>>, wanted: Wanted<'_>, dice: &mut impl Rng) -> Vec<Choice> {
    trunks.shuffle(dice);
    trunks.sort_by_key(|trunk| trunk.weight_cost);
    let mut choices = Vec::new();
    for trunk in trunks {
        let Some(dialled) = taken(&trunk, wanted) else {
            continue;
        };
        let mut gateways = trunk.gateways.clone();
        if trunk.is_shared_out {
            gateways.shuffle(dice);
        }
        choices.extend(gateways.into_iter().map(|gateway| Choice {
            trunk: Arc::clone(&trunk),
            gateway,
            dialled: dialled.clone(),
        }));
    }
    choices
}

/// Returns what is dialled where a trunk takes a number: the first group of the rule that fits, or all that fits.
fn taken(trunk: &Trunk, wanted: Wanted<'_>) -> Option<String> {
    let has = |flag: &String| trunk.flags.contains(flag);
    if !wanted.is_emergency && !wanted.flags.iter().all(has) {
        return None;
    }
    if trunk.rules.is_empty() {
        let is_meant = match trunk.is_emergency {
            true => wanted.is_emergency,
            false => wanted.is_telephone,
        };
        return wanted.forms.first().filter(|_| is_meant).cloned();
    }
    wanted.forms.iter().find_map(|form| {
        trunk.rules.iter().find_map(|rule| {
            let found = rule.captures(form)?;
            let part = found.get(1).or_else(|| found.get(0))?;
            Some(part.as_str().to_owned()).filter(|dialled| !dialled.is_empty())
        })
    })
}

#[cfg(test)]
mod tests {
    use confab_conference::AccountId;
    use confab_documents::{Document, Kind};
    use rand::{SeedableRng as _, rngs::StdRng};
    use serde_json::{Value, json};

    use super::*;

    fn trunk(id: &str, more: Value) -> Arc<Trunk> {
        let mut body = json!({"name": id, "gateways": [{"server": format!("{id}.example")}]});
        let more = more.as_object().cloned().unwrap_or_default();
        body.as_object_mut().unwrap().extend(more);
        let body = body.as_object().unwrap().clone();
        let document = Document::unsaved(&AccountId::from("a"), Kind::Resource, id, body).unwrap();
        Arc::new(Trunk::read(&document).unwrap())
    }

    fn hosts(choices: &[Choice]) -> Vec<String> {
        choices
            .iter()
            .map(|choice| choice.gateway.address.host.to_string())
            .collect()
    }

    fn chosen(trunks: &[Arc<Trunk>], forms: &[&str], is_telephone: bool, seed: u64) -> Vec<Choice> {
        let forms: Vec<String> = forms.iter().map(|form| (*form).to_owned()).collect();
        let wanted = Wanted {
            forms: &forms,
            is_telephone,
            is_emergency: false,
            flags: &[],
        };
        of(trunks.to_vec(), wanted, &mut StdRng::seed_from_u64(seed))
    }

    #[test]
    fn a_call_with_tags_goes_by_trunks_that_have_them_all() {
        let all = [
            trunk("plain", json!({"weight_cost": 1})),
            trunk("fax", json!({"weight_cost": 2, "flags": ["fax"]})),
            trunk("both", json!({"weight_cost": 3, "flags": ["fax", "secure"]})),
        ];
        let forms = ["+491".to_owned()];
        for (flags, is_emergency, expected) in [
            (
                &[][..],
                false,
                &["plain.example", "fax.example", "both.example"][..],
            ),
            (&["fax"], false, &["fax.example", "both.example"]),
            (&["secure", "fax"], false, &["both.example"]),
            (&["other"], false, &[]),
            (
                &["other"],
                true,
                &["plain.example", "fax.example", "both.example"],
            ),
        ] {
            let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
            let wanted = Wanted {
                forms: &forms,
                is_telephone: true,
                is_emergency,
                flags: &flags,
            };
            let found = of(all.to_vec(), wanted, &mut StdRng::seed_from_u64(1));
            assert_eq!(hosts(&found), expected, "{flags:?} {is_emergency}");
        }
    }

    #[test]
    fn an_emergency_trunk_takes_emergency_numbers_and_what_its_rules_say() {
        let bare = trunk("bare", json!({"emergency": true}));
        let ruled = trunk("ruled", json!({"emergency": true, "rules": ["^\\+49", "^112$"]}));
        for (form, is_telephone, is_emergency, expected) in [
            ("112", false, true, &["bare.example", "ruled.example"][..]),
            ("911", false, true, &["bare.example"]),
            ("112", false, false, &["ruled.example"]),
            ("+491", true, false, &["ruled.example"]),
            ("+441", true, false, &[]),
        ] {
            let forms = [form.to_owned()];
            let wanted = Wanted {
                forms: &forms,
                is_telephone,
                is_emergency,
                flags: &[],
            };
            let both = vec![Arc::clone(&bare), Arc::clone(&ruled)];
            let mut found = hosts(&of(both, wanted, &mut StdRng::seed_from_u64(1)));
            found.sort();
            assert_eq!(found, expected, "{form} {is_emergency}");
        }
    }

    #[test]
    fn a_rule_says_which_numbers_are_taken_and_what_of_them_is_dialled() {
        let forms = ["+14158867900", "4158867900"];
        for (rules, expected) in [
            (json!([]), Some("+14158867900")),
            (json!(["^\\+1(\\d{10})$"]), Some("4158867900")),
            (json!(["^\\+49", "^\\+1"]), Some("+1")),
            (json!(["^\\+?1\\d{10}$"]), Some("+14158867900")),
            (json!(["^(\\d{10})$"]), Some("4158867900")),
            (json!(["^\\+49"]), None),
            (json!(["^(x?)\\+1"]), None),
        ] {
            let found = chosen(&[trunk("t", json!({ "rules": rules }))], &forms, true, 1);
            let dialled = found.first().map(|choice| choice.dialled.as_str());
            assert_eq!(dialled, expected, "{rules}");
        }
        // What is no telephone number is taken by a rule alone.
        assert!(chosen(&[trunk("t", json!({}))], &["112"], false, 1).is_empty());
        let ruled = trunk("t", json!({"rules": ["^112$"]}));
        assert_eq!(chosen(&[ruled], &["112"], false, 1)[0].dialled, "112");
    }

    #[test]
    fn the_cheapest_is_first_and_equals_share_the_calls() {
        let all = [
            trunk("dear", json!({"weight_cost": 90})),
            trunk("one", json!({"weight_cost": 10})),
            trunk("two", json!({"weight_cost": 10})),
        ];
        let mut firsts = std::collections::BTreeSet::new();
        for seed in 0..32 {
            let order = hosts(&chosen(&all, &["+491"], true, seed));
            assert_eq!(order[2], "dear.example");
            firsts.insert(order[0].clone());
        }
        assert_eq!(firsts.len(), 2, "{firsts:?}");
    }

    #[test]
    fn gateways_are_tried_in_their_order_unless_they_share_the_calls() {
        let gateways = json!([{"server": "a.example"}, {"server": "off.example", "enabled": false},
            {"server": "b.example"}, {"server": "c.example"}]);
        let in_turn = trunk("t", json!({ "gateways": gateways }));
        let shared = trunk("t", json!({"gateways": gateways, "gateway_strategy": "random"}));
        let mut firsts = std::collections::BTreeSet::new();
        for seed in 0..64 {
            let order = hosts(&chosen(std::slice::from_ref(&in_turn), &["+491"], true, seed));
            assert_eq!(order, ["a.example", "b.example", "c.example"]);
            firsts.insert(hosts(&chosen(std::slice::from_ref(&shared), &["+491"], true, seed))[0].clone());
        }
        assert_eq!(firsts.len(), 3, "{firsts:?}");
    }
}
