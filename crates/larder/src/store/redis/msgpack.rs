//! The one shape of MessagePack that our scripts send: an array of strings.
//!
//! `cmsgpack.pack` makes it inside Redis. Anything else is refused, never guessed: the caller then distrusts the link.

/// More strings than any message of ours has: 1,000 scopes and keys in an invalidation, and its head.
pub(super) const MAX_STRINGS: usize = 1_100;

/// The strings of the array that `bytes` is; `None` if it is anything else, is cut short or goes on after its end.
pub(super) fn strings(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let (&first, mut rest) = bytes.split_first()?;
    let count = match first {
        0x90..=0x9f => usize::from(first & 0x0f),
        0xdc => length::<2>(&mut rest)?,
        0xdd => length::<4>(&mut rest)?,
        _ => return None,
    };
    if count > MAX_STRINGS {
        return None;
    }
    // A count is believed only as far as there are bytes for it.
    let mut out = Vec::with_capacity(count.min(rest.len()));
    for _ in 0..count {
        out.push(string(&mut rest)?);
    }
    rest.is_empty().then_some(out)
}

fn string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (&first, after) = rest.split_first()?;
    *rest = after;
    let length = match first {
        0xa0..=0xbf => usize::from(first & 0x1f),
        0xd9 => length::<1>(rest)?,
        0xda => length::<2>(rest)?,
        0xdb => length::<4>(rest)?,
        _ => return None,
    };
    let (string, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(string)
}

/// A big-endian length of `N` bytes.
fn length<const N: usize>(rest: &mut &[u8]) -> Option<usize> {
    let (bytes, after) = rest.split_at_checked(N)?;
    *rest = after;
    bytes.iter().try_fold(0usize, |sum, byte| sum.checked_mul(256)?.checked_add(usize::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What `cmsgpack` writes.
    fn pack(strings: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        match u16::try_from(strings.len()).unwrap() {
            count @ 0..=15 => out.push(0x90 | u8::try_from(count).unwrap()),
            count => {
                out.push(0xdc);
                out.extend(count.to_be_bytes());
            }
        }
        for string in strings {
            match string.len() {
                length @ 0..=31 => out.push(0xa0 | u8::try_from(length).unwrap()),
                length @ 32..=255 => out.extend([0xd9, u8::try_from(length).unwrap()]),
                length => {
                    out.push(0xda);
                    out.extend(u16::try_from(length).unwrap().to_be_bytes());
                }
            }
            out.extend(string);
        }
        out
    }

    #[test]
    fn more_strings_than_the_limit_are_refused() {
        let at = pack(&vec![b"s".to_vec(); MAX_STRINGS]);
        let past = pack(&vec![b"s".to_vec(); MAX_STRINGS + 1]);
        assert_eq!(strings(&at).unwrap().len(), MAX_STRINGS);
        assert_eq!(strings(&past), None);
    }

    #[test]
    fn a_huge_count_or_length_allocates_nothing() {
        assert_eq!(strings(&[0xdd, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(strings(&[0x91, 0xdb, 0xff, 0xff, 0xff, 0xff]), None);
    }

    #[test]
    fn what_is_no_array_of_strings_is_refused() {
        for bytes in
            [&[][..], &[0x81, 0xa1, b'a', 0xa1, b'b'], &[0x91, 0x01], &[0x91], &[0x90, 0x00], &[0xc0]]
        {
            assert_eq!(strings(bytes), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(
            given in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..20)
        ) {
            let packed = pack(&given);
            prop_assert_eq!(strings(&packed).unwrap(), given.iter().map(Vec::as_slice).collect::<Vec<_>>());
            for cut in (0..packed.len()).step_by(7) {
                prop_assert_eq!(strings(&packed[..cut]), None);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = strings(&bytes);
        }

        #[test]
        fn any_bytes_after_an_array_head_are_read_or_refused(
            head in 0x90u8..=0xdd, bytes in proptest::collection::vec(any::<u8>(), 0..200)
        ) {
            let mut all = vec![head];
            all.extend(bytes);
            let _ = strings(&all);
        }
    }
}
