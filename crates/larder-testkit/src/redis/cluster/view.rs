//! What one node of a cluster believes.

use std::ops::RangeInclusive;

/// A line of CLUSTER NODES.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) id: String,
    pub(super) port: u16,
    pub(super) primary: bool,
    /// It or its peer is suspected or known to have failed, or is not known well yet.
    pub(super) doubtful: bool,
    /// Of a replica: whose.
    pub(super) follows: Option<String>,
    /// The higher claim to a slot holds.
    pub(super) epoch: u64,
    pub(super) slots: Vec<RangeInclusive<u16>>,
}

impl Seen {
    pub(super) fn has(&self, slot: u16) -> bool {
        self.slots.iter().any(|range| range.contains(&slot))
    }
}

/// Reads the answer to CLUSTER NODES; `None` where it is none.
pub(super) fn parse(text: &str) -> Option<Vec<Seen>> {
    text.lines().map(line).collect()
}

fn line(line: &str) -> Option<Seen> {
    let mut words = line.split(' ');
    let (id, address, flags, follows) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let epoch = words.nth(2)?.parse().ok()?;
    let flag = |name: &str| flags.split(',').any(|flag| flag == name);
    // `ip:port@bus[,name]`
    let port = address.split('@').next()?.rsplit(':').next()?.parse().ok()?;
    let slots = words.skip(1).filter(|word| !word.starts_with('[')).map(|word| {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    Some(Seen {
        id: id.to_owned(),
        port,
        primary: flag("master"),
        doubtful: ["fail", "fail?", "handshake", "noaddr"].into_iter().any(flag),
        follows: (follows != "-").then(|| follows.to_owned()),
        epoch,
        slots: slots.collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_line_is_read() {
        let text = "a1 127.0.0.1:30004@31004,host slave,fail? b2 0 1426238317239 4 connected\n\
                    b2 127.0.0.1:30002@31002 myself,master - 0 0 2 connected 5461-10922 3 [93->-c3]\n";
        let seen = parse(text).unwrap();
        assert_eq!((seen[0].port, seen[0].primary, seen[0].doubtful), (30004, false, true));
        assert_eq!(seen[0].follows.as_deref(), Some("b2"));
        assert_eq!((seen[1].epoch, seen[1].slots.clone()), (2, vec![5461..=10922, 3..=3]));
        assert!(seen[1].has(3) && seen[1].has(6000) && !seen[1].has(4));
        assert_eq!(parse("ERR no"), None);
    }
}
