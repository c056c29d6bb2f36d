//! The endpoints in the order that was asked for.

use super::overview::Endpoint;

/// What they are sorted by, the most first; names from A.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Loads,
    Time,
    Hits,
    Misses,
    Name,
}

impl Order {
    const ALL: [Self; 5] = [Self::Loads, Self::Time, Self::Hits, Self::Misses, Self::Name];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Loads => "loads",
            Self::Time => "time",
            Self::Hits => "hits",
            Self::Misses => "misses",
            Self::Name => "name",
        }
    }

    /// The letter of its key: the first of its name, but `h` is for help.
    pub(super) fn letter(self) -> char {
        match self {
            Self::Loads => 'l',
            Self::Time => 't',
            Self::Hits => 'i',
            Self::Misses => 'm',
            Self::Name => 'n',
        }
    }

    pub(super) fn of_letter(letter: char) -> Option<Self> {
        Self::ALL.into_iter().find(|order| order.letter() == letter)
    }

    pub(super) fn next(self) -> Self {
        let place = Self::ALL.iter().position(|order| *order == self).unwrap_or(0);
        Self::ALL[(place + 1) % Self::ALL.len()]
    }

    pub(super) fn all() -> [Self; 5] {
        Self::ALL
    }
}

pub(super) fn sorted(endpoints: &[Endpoint], order: Order, reversed: bool) -> Vec<&Endpoint> {
    let mut sorted: Vec<&Endpoint> = endpoints.iter().collect();
    sorted.sort_by(|a, b| {
        let most_first = match order {
            Order::Loads => b.loads.cmp(&a.loads),
            Order::Time => b.load_s.total_cmp(&a.load_s),
            Order::Hits => b.hits.cmp(&a.hits),
            Order::Misses => b.misses.cmp(&a.misses),
            Order::Name => a.name.cmp(&b.name),
        };
        // Equal ones keep their places from one second to the next.
        let first = if reversed { most_first.reverse() } else { most_first };
        first.then_with(|| a.name.cmp(&b.name))
    });
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_sorted_as_asked_and_equal_ones_by_name() {
        let one = |name: &str, loads, hits, load_s| Endpoint {
            name: name.into(),
            loads,
            hits,
            load_s,
            ..Endpoint::default()
        };
        let endpoints = [one("b", 1, 9, 0.5), one("c", 7, 0, 0.1), one("a", 1, 3, 2.0)];
        let names = |order, reversed| -> String {
            sorted(&endpoints, order, reversed).iter().map(|one| one.name.as_str()).collect()
        };
        assert_eq!(names(Order::Loads, false), "cab");
        assert_eq!(names(Order::Loads, true), "abc");
        assert_eq!(names(Order::Time, false), "abc");
        assert_eq!(names(Order::Hits, false), "bac");
        assert_eq!(names(Order::Misses, false), "abc");
        assert_eq!(names(Order::Name, true), "cba");
    }

    #[test]
    fn every_order_has_a_key_and_tab_comes_to_all() {
        let mut order = Order::Loads;
        for expected in Order::ALL {
            assert_eq!(order, expected);
            assert_eq!(Order::of_letter(order.letter()), Some(order));
            order = order.next();
        }
        assert_eq!(order, Order::Loads);
    }
}
