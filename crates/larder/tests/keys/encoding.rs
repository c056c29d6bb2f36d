//! The encoded form of a key.

use crate::{HOSTILE, key, segments};
use larder::{Key, key};
use proptest::prelude::*;
use std::collections::HashMap;

proptest! {
    #[test]
    fn keys_are_equal_only_if_their_segments_are(a in segments(), b in segments()) {
        prop_assert_eq!(key(&a) == key(&b), a == b);
        prop_assert_eq!(key(&a).as_str() == key(&b).as_str(), a == b);
    }

    #[test]
    fn the_encoded_form_holds_no_control_character_and_one_separator_fewer_than_segments(a in segments()) {
        let key = key(&a);
        prop_assert!(!key.as_str().chars().any(|c| c.is_ascii_control()));
        prop_assert_eq!(key.as_str().matches(':').count(), a.len() - 1);
    }

    #[test]
    fn the_encoded_form_reads_back(a in segments()) {
        let key = key(&a);
        prop_assert_eq!(Key::from_encoded(key.as_str()).unwrap(), key);
    }

    /// A text that is no key's encoding is refused, so no key has two.
    #[test]
    fn whatever_is_taken_as_an_encoding_is_the_encoding_of_what_it_becomes(
        text in prop_oneof!["[ab:%01239AaEFf\\x00é]{0,8}", any::<String>()],
    ) {
        if let Ok(key) = Key::from_encoded(&text) {
            prop_assert_eq!(key.as_str(), text);
        }
    }

    #[test]
    fn every_plain_text_is_the_encoding_of_a_key(text in "[a-z:é 🦀*{}]{0,40}") {
        prop_assert!(Key::from_encoded(&text).is_ok());
    }
}

/// Row 28: `a:b` + `c` is not `a` + `b:c`, nor is any other way to cut.
#[test]
fn all_keys_of_up_to_two_hostile_segments_differ() {
    let mut seen: HashMap<String, Vec<&str>> = HashMap::new();
    let ones = HOSTILE.iter().map(|&one| vec![one]);
    let twos = HOSTILE.iter().flat_map(|&one| HOSTILE.iter().map(move |&two| vec![one, two]));
    for segments in ones.chain(twos) {
        if let Some(other) = seen.insert(key(&segments).as_str().to_owned(), segments.clone()) {
            panic!("{segments:?} and {other:?} have the same key");
        }
    }
    assert_ne!(key!("a:b", "c"), key!("a", "b:c"));
}

#[test]
fn a_key_is_rendered_as_people_know_it() {
    assert_eq!(key!("dashboard_trends", "days", 30).render("acme"), "dashboard_trends:acme:days:30");
    assert_eq!(key!("dashboard_stats").render("acme"), "dashboard_stats:acme");
    assert_eq!(key!("threats", "page=1", "limit=10").render(""), "threats:page=1:limit=10");
    assert_eq!(key!("stats", "").render(""), "stats:");
}

#[test]
fn a_tenant_cannot_pass_for_a_segment_when_rendered() {
    assert_eq!(key!("a", "c").render("x:b"), "a:x%3Ab:c");
    assert_ne!(key!("a", "c").render("x:b"), key!("a", "b", "c").render("x"));
}
