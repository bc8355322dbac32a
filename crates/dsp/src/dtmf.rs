//! The sixteen symbols of tone dialling and their frequencies (ITU-T Q.23). Making and hearing them is done elsewhere
//! (`tone`, `detector`).

/// The lower frequency of a symbol, by the row of its key, in Hz.
pub const DTMF_ROWS_HZ: [f32; 4] = [697.0, 770.0, 852.0, 941.0];

/// The higher frequency of a symbol, by the column of its key, in Hz.
pub const DTMF_COLUMNS_HZ: [f32; 4] = [1209.0, 1336.0, 1477.0, 1633.0];

/// The keys, row by row.
const KEYS: [u8; 16] = *b"123A456B789C*0#D";

/// The symbols in the order of their event codes (RFC 4733 §3.2).
const EVENTS: [u8; 16] = *b"0123456789*#ABCD";

/// One of `0`-`9`, `*`, `#`, `A`-`D`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DtmfSymbol(u8);

impl DtmfSymbol {
    /// Returns the symbol of a character; letters may be small. `None` for other characters.
    pub fn from_char(symbol: char) -> Option<DtmfSymbol> {
        let symbol = u8::try_from(symbol).ok()?.to_ascii_uppercase();
        KEYS.contains(&symbol).then_some(DtmfSymbol(symbol))
    }

    /// Returns the symbol of an event code, 0..=15 (RFC 4733 §3.2).
    pub fn from_event(code: u8) -> Option<DtmfSymbol> {
        EVENTS.get(usize::from(code)).copied().map(DtmfSymbol)
    }

    /// Returns the symbol as a character, letters being capital.
    pub fn as_char(self) -> char {
        char::from(self.0)
    }

    /// Returns the event code, 0..=15 (RFC 4733 §3.2).
    pub fn event(self) -> u8 {
        position(&EVENTS, self.0) as u8
    }

    /// Returns the lower and the higher frequency in Hz.
    pub fn frequencies_hz(self) -> [f32; 2] {
        let key = position(&KEYS, self.0);
        [DTMF_ROWS_HZ[key / 4], DTMF_COLUMNS_HZ[key % 4]]
    }

    /// Returns the symbol at a row and a column, both 0..=3.
    pub(crate) fn at(row: usize, column: usize) -> DtmfSymbol {
        DtmfSymbol(KEYS[4 * row + column])
    }
}

impl std::fmt::Display for DtmfSymbol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_char().fmt(f)
    }
}

/// Both tables hold every symbol, so the end is never reached.
fn position(symbols: &[u8; 16], symbol: u8) -> usize {
    symbols.iter().position(|&known| known == symbol).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_have_their_codes_and_frequencies() {
        let rows = [
            ('0', 0, [941.0, 1336.0]),
            ('1', 1, [697.0, 1209.0]),
            ('9', 9, [852.0, 1477.0]),
            ('*', 10, [941.0, 1209.0]),
            ('#', 11, [941.0, 1477.0]),
            ('A', 12, [697.0, 1633.0]),
            ('D', 15, [941.0, 1633.0]),
        ];
        for (symbol, event, frequencies) in rows {
            let parsed = DtmfSymbol::from_char(symbol).expect("a symbol");
            assert_eq!((parsed.event(), parsed.as_char()), (event, symbol));
            assert_eq!(parsed.frequencies_hz(), frequencies);
            assert_eq!(DtmfSymbol::from_event(event), Some(parsed));
        }
        assert_eq!(DtmfSymbol::from_char('b'), DtmfSymbol::from_char('B'));
        for other in ['E', ' ', 'é', '\0', '１'] {
            assert_eq!(DtmfSymbol::from_char(other), None);
        }
        assert_eq!(DtmfSymbol::from_event(16), None);
    }
}
