//! The part of a packet's index that is not in the packet: how often its sequence number has wrapped (RFC 3711 §3.3.1).

/// Half of the sequence numbers.
const HALF: u16 = 0x8000;

/// Returns the index of 48 bits of a sequence number, given the highest index that was authentic: the nearest one.
pub(crate) fn estimate(highest: u64, sequence_number: u16) -> u64 {
    let (rollovers, last) = (highest >> 16, highest as u16); // the low bits are the sequence number
    let ahead = sequence_number.wrapping_sub(last);
    let rollovers = if ahead < HALF {
        // At or after the highest one: a smaller number means a wrap.
        rollovers + u64::from(sequence_number < last)
    } else if sequence_number > last {
        // Before it, across a wrap. Before the first wrap there is nothing.
        rollovers.saturating_sub(1)
    } else {
        rollovers
    };
    (rollovers & 0xffff_ffff) << 16 | u64::from(sequence_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_index_is_meant() {
        let rows = [
            (0x0_0000, 0x0001, 0x0_0001),
            (0x0_ffff, 0x0000, 0x1_0000),
            (0x0_fff0, 0x0010, 0x1_0010),
            (0x1_0005, 0xfffe, 0x0_fffe),
            (0x1_0005, 0x0004, 0x1_0004),
            (0x0_0005, 0xfffe, 0x0_fffe),
            (0x5_8000, 0x0001, 0x5_0001),
            (0x5_8001, 0x0000, 0x6_0000),
            (0x5_9000, 0x0001, 0x6_0001),
            (0xffff_ffff_ffff, 0x0000, 0),
        ];
        for (highest, sequence_number, index) in rows {
            assert_eq!(
                estimate(highest, sequence_number),
                index,
                "{highest:x} {sequence_number:x}"
            );
        }
    }
}
