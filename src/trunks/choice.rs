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

/// Returns the gateways of these trunks that take a number: those of the cheapest trunk first, of trunks that cost the same in any order,
/// so that they share the calls.
pub(super) fn of(
    mut trunks: Vec<Arc<Trunk>>,
    forms: &[String],
    is_telephone: bool,
    dice: &mut impl Rng,
) -> Vec<Choice> {
    trunks.shuffle(dice);
    trunks.sort_by_key(|trunk| trunk.weight_cost);
    let mut choices = Vec::new();
    for trunk in trunks {
        let Some(dialled) = taken(&trunk, forms, is_telephone) else {
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
fn taken(trunk: &Trunk, forms: &[String], is_telephone: bool) -> Option<String> {
    if trunk.rules.is_empty() {
        return forms.first().filter(|_| is_telephone).cloned();
    }
    forms.iter().find_map(|form| {
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
        of(
            trunks.to_vec(),
            &forms,
            is_telephone,
            &mut StdRng::seed_from_u64(seed),
        )
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
