//! Rounds of kinds of trouble: each comes as often as it stands in the list before any comes again.

use crate::chance::Chance;

/// Rounds, each in an order of its own, which follows from the seed. Independent draws would leave some kinds out for
/// many minutes.
pub(super) struct Rounds<T> {
    round: Vec<T>,
    left: Vec<T>,
    chance: Chance,
}

impl<T: Copy> Rounds<T> {
    /// Rounds of these.
    pub(super) fn of(round: Vec<T>, chance: Chance) -> Self {
        Self { round, left: Vec::new(), chance }
    }

    /// The next one. `None` where there is nothing in a round.
    pub(super) fn next(&mut self) -> Option<T> {
        if self.left.is_empty() {
            self.left.clone_from(&self.round);
            self.chance.shuffle(&mut self.left);
        }
        self.left.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(seed: u64, count: usize) -> Vec<char> {
        let mut rounds = Rounds::of("aabcdef".chars().collect(), Chance::new(seed));
        (0..count).filter_map(|_| rounds.next()).collect()
    }

    #[test]
    fn in_every_round_each_kind_comes_as_often_as_it_stands_there() {
        let drawn = drawn(1, 7 * 50);
        for round in drawn.chunks(7) {
            let mut sorted = round.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted.iter().collect::<String>(), "aabcdef");
        }
        assert!(drawn.chunks(7).any(|round| round != &drawn[..7]), "always in the same order");
    }

    #[test]
    fn the_order_follows_from_the_seed() {
        assert_eq!(drawn(5, 100), drawn(5, 100));
        assert_ne!(drawn(5, 100), drawn(6, 100));
    }

    #[test]
    fn nothing_comes_of_an_empty_round() {
        assert_eq!(Rounds::<u8>::of(Vec::new(), Chance::new(0)).next(), None);
    }
}
