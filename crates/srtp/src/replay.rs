//! Which packets of a stream have come (RFC 3711 §3.3.2): a window of the last 128 indexes.

/// Indexes that are remembered behind the highest one.
const WINDOW: u64 = 128;

/// The highest index that has come, and which of those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReplayWindow {
    highest: u64,
    /// Bit n stands for the index `highest - n`.
    came: u128,
}

impl ReplayWindow {
    /// Begins with the first packet.
    pub(crate) const fn new(first: u64) -> ReplayWindow {
        ReplayWindow {
            highest: first,
            came: 1,
        }
    }

    /// Returns the highest index that has come.
    pub(crate) const fn highest(&self) -> u64 {
        self.highest
    }

    /// Returns whether a packet is new.
    pub(crate) const fn is_new(&self, index: u64) -> bool {
        if index > self.highest {
            return true;
        }
        let age = self.highest - index;
        age < WINDOW && self.came >> age & 1 == 0
    }

    /// Notes a packet that is new and authentic.
    pub(crate) const fn note(&mut self, index: u64) {
        if index > self.highest {
            let ahead = index - self.highest;
            self.came = if ahead < WINDOW { self.came << ahead | 1 } else { 1 };
            self.highest = index;
        } else if self.highest - index < WINDOW {
            self.came |= 1 << (self.highest - index);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lets_each_index_of_the_window_through_once(indexes in prop::collection::vec(1_u64..600, 1..400)) {
            let mut window = ReplayWindow::new(indexes[0]);
            let mut came = HashSet::from([indexes[0]]);
            let mut highest = indexes[0];
            for &index in &indexes[1..] {
                let new = !came.contains(&index) && index + WINDOW > highest;
                prop_assert_eq!(window.is_new(index), new);
                if new {
                    window.note(index);
                    came.insert(index);
                    highest = highest.max(index);
                }
                prop_assert_eq!(window.highest(), highest);
            }
        }
    }
}
