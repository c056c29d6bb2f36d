//! The known name that somebody may have meant.

/// How many letters must be changed, added, left out or swapped with their neighbour to make `b` of `a`, whatever their case.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().map(|c| c.to_ascii_lowercase()).collect();
    let b: Vec<char> = b.chars().map(|c| c.to_ascii_lowercase()).collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// The nearest of `known`, unless even that is quite another word.
pub(crate) fn best<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let furthest = (given.chars().count() / 3).max(2);
    known
        .map(|name| (distance(given, name), name))
        .min()
        .filter(|(far, _)| *far <= furthest)
        .map(|(_, name)| name)
}

/// The one of `known` that `given` misspells: two letters off at most, one for words so short that two would make them another.
pub(crate) fn misspelt<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = |name: &str| match name.len() {
        0..5 => 0,
        5..8 => 1,
        _ => 2,
    };
    known
        .map(|name| (distance(given, name), name))
        .min()
        .filter(|(far, name)| *far <= allowed(name))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swapped_neighbours_are_one_step() {
        assert_eq!(distance("REDIS_ULR", "REDIS_URL"), 1);
        assert_eq!(distance("CACHE_MEMROY", "cache_memory"), 1);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn a_misspelt_name_is_found_and_a_foreign_one_is_not() {
        let known = ["REDIS_URL", "CACHE_MEMORY", "ENV", "LOG", "WORKERS", "PORT"];
        let found = |given| misspelt(given, known.into_iter());
        assert_eq!(found("REDIS_ULR"), Some("REDIS_URL"));
        assert_eq!(found("CACHE_MEMROY"), Some("CACHE_MEMORY"));
        assert_eq!(found("WORKER"), Some("WORKERS"));
        assert_eq!(found("redis_url"), Some("REDIS_URL"));
        for foreign in ["LANG", "HOME", "PWD", "TERM", "REDIS_HOST", "DATABASE_URL", "POST"] {
            assert_eq!(found(foreign), None, "{foreign}");
        }
    }
}
