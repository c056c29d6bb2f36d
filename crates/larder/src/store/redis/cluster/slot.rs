//! Hash slots, and the buckets' names, which decide in which slots they are.

/// Slots of a Redis Cluster.
pub(in crate::store::redis) const SLOTS: u16 = 16_384;

/// The names of the buckets: the hash tags of their keys. They never change: keys in Redis are found by them.
///
/// The slots are divided into as many equal parts as there are buckets. The name of the n-th bucket is the smallest number
/// whose slot is at most [`NEAR`] from the middle of the n-th part, so that the buckets are spread evenly over however many
/// primaries the slots are evenly divided among.
pub(in crate::store::redis) const NAMES: [&str; 16] =
    ["18", "249", "72", "223", "105", "2", "64", "235", "265", "34", "413", "155", "273", "22", "219", "48"];

/// How far from the middle of its part a bucket's slot may be.
#[cfg(test)]
const NEAR: u16 = 32;

/// The slot of a hash tag.
pub(in crate::store::redis) fn slot_of(tag: &str) -> u16 {
    crc16(tag.as_bytes()) % SLOTS
}

/// CRC16/XMODEM, as the Redis Cluster specification has it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        let crc = crc ^ u16::from(*byte) << 8;
        (0..8).fold(crc, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!((slot_of("foo"), slot_of("0"), slot_of("")), (12_182, 13_907, 0));
    }

    #[test]
    fn the_names_of_buckets_never_change() {
        let part = SLOTS / u16::try_from(NAMES.len()).unwrap();
        for (name, first) in NAMES.iter().zip((0..).step_by(part.into())) {
            let middle: u16 = first + part / 2;
            let near = |name: &str| slot_of(name).abs_diff(middle) <= NEAR;
            let smallest = (0_u32..).map(|number| number.to_string()).find(|name| near(name)).unwrap();
            assert_eq!(*name, smallest);
        }
        assert_eq!(NAMES.map(slot_of)[..4], [511, 1518, 2579, 3586]);
    }

    #[test]
    fn every_primary_has_its_share_of_the_buckets() {
        for primaries in 1..=16_usize {
            let mut shares = vec![0; primaries];
            for name in NAMES {
                shares[usize::from(slot_of(name)) * primaries / usize::from(SLOTS)] += 1;
            }
            let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            assert!(most - least <= 1, "{primaries} primaries: {shares:?}");
        }
    }
}
