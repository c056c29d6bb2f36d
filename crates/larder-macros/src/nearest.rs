//! The known name that a misspelt one was probably meant to be.

/// The candidate closest to `name`, if it is close enough to be a slip of the fingers: at most a third of the name
/// may differ, and one edit is always forgiven.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance: insertions, deletions and replacements that lead from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_edits() {
        for (a, b, expected) in
            [("", "", 0), ("ttl", "", 3), ("", "ttl", 3), ("ttl", "tll", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(a, b), expected, "{a} → {b}");
        }
    }

    #[test]
    fn the_closest_name_wins_and_a_far_one_is_not_offered() {
        assert_eq!(nearest("tagg", ["ttl", "tag", "tenant"]), Some("tag"));
        assert_eq!(
            nearest("stale_on_error", ["stale_if_error", "stale_while_revalidate"]),
            Some("stale_if_error")
        );
        assert_eq!(nearest("expiry", ["ttl", "tag", "tenant"]), None);
    }
}
