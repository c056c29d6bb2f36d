//! Who sees what: every entry is found under its own name only, and no operation of one tenant changes another's reads.

use crate::{HOSTILE, cache, key, name, policy, segments};
use larder::{Key, Selector, Tenant, all, first_segment, key, prefix, tag};
use proptest::prelude::*;
use std::collections::BTreeMap;

async fn read(tenant: &Tenant, key: Key) -> Option<u32> {
    tenant.get::<u32>(key).await.unwrap().map(|found| *found.value)
}

#[tokio::test]
async fn hostile_keys_and_tenants_each_hold_their_own_value() {
    let cache = cache().await;
    let names = || HOSTILE.iter().filter(|name| !name.is_empty());
    let pairs: Vec<_> =
        names().flat_map(|tenant| HOSTILE.iter().map(move |segment| (*tenant, *segment))).collect();
    for (value, (tenant, segment)) in (0_u32..).zip(&pairs) {
        cache.tenant(tenant).set(key!("k", segment), value, &policy()).await.unwrap();
    }
    for (value, (tenant, segment)) in (0_u32..).zip(&pairs) {
        let found = read(&cache.tenant(tenant), key!("k", segment)).await;
        assert_eq!(found, Some(value), "tenant {tenant:?}, segment {segment:?}");
    }
}

#[tokio::test]
async fn what_belongs_to_no_tenant_is_apart_from_every_tenant() {
    let cache = cache().await;
    cache.shared().set(key!("k", "acme", "x"), 1_u32, &policy()).await.unwrap();
    cache.tenant("acme").set(key!("k", "x"), 2_u32, &policy()).await.unwrap();
    assert_eq!(read(&cache.shared(), key!("k", "acme", "x")).await, Some(1));
    assert_eq!(read(&cache.tenant("acme"), key!("k", "x")).await, Some(2));
    assert_eq!(read(&cache.shared(), key!("k", "x")).await, None);
    cache.shared().invalidate(all()).await.unwrap();
    assert_eq!(read(&cache.tenant("acme"), key!("k", "x")).await, Some(2));
}

#[tokio::test]
async fn a_tenant_and_a_name_do_not_run_into_each_other() {
    let cache = cache().await;
    let (a, ab) = (cache.tenant("a"), cache.tenant("ab"));
    let selections: [(Selector, Selector); 3] =
        [(tag("bc"), tag("c")), (prefix!("bc"), prefix!("c")), (key!("bc").into(), key!("c").into())];
    for (of_a, of_ab) in selections {
        a.set(key!("bc"), 1_u32, &policy().tag("bc")).await.unwrap();
        ab.set(key!("c"), 2_u32, &policy().tag("c")).await.unwrap();
        a.invalidate(of_a).await.unwrap();
        assert_eq!((read(&a, key!("bc")).await, read(&ab, key!("c")).await), (None, Some(2)));
        a.set(key!("bc"), 1_u32, &policy().tag("bc")).await.unwrap();
        ab.invalidate(of_ab).await.unwrap();
        assert_eq!((read(&a, key!("bc")).await, read(&ab, key!("c")).await), (Some(1), None));
    }
}

#[tokio::test]
async fn what_is_cleared_across_tenants_is_the_whole_first_segment() {
    let cache = cache().await;
    let places = [cache.tenant("acme"), cache.tenant("globex"), cache.shared()];
    for place in &places {
        for key in [key!("posts"), key!("posts", 1), key!("posts_user", 1), key!("a", "posts")] {
            place.set(key, 1_u32, &policy()).await.unwrap();
        }
    }
    cache.invalidate(first_segment("posts")).await.unwrap();
    for place in &places {
        assert_eq!(read(place, key!("posts")).await, None);
        assert_eq!(read(place, key!("posts", 1)).await, None);
        assert_eq!(read(place, key!("posts_user", 1)).await, Some(1));
        assert_eq!(read(place, key!("a", "posts")).await, Some(1));
    }
    cache.invalidate(all()).await.unwrap();
    for place in &places {
        assert_eq!(read(place, key!("posts_user", 1)).await, None);
    }
}

/// Row 28: `users` does not match `usersAbc`.
#[tokio::test]
async fn a_prefix_covers_whole_segments_only() {
    let acme = cache().await.tenant("acme");
    let keys = [
        key!("users"),
        key!("users", 1),
        key!("users", 1, "x"),
        key!("users", 10),
        key!("usersAbc"),
        key!("user", "s"),
    ];
    for (selected, survivors) in [
        (prefix!("users"), [false, false, false, false, true, true]),
        (prefix!("users", 1), [true, false, false, true, true, true]),
        (prefix!("user"), [true, true, true, true, true, false]),
        (prefix!("users", "*"), [true; 6]),
        (prefix!("users*"), [true; 6]),
        (prefix!("users:1"), [true; 6]),
    ] {
        for key in &keys {
            acme.set(key.clone(), 1_u32, &policy()).await.unwrap();
        }
        let what = format!("{selected:?}");
        acme.invalidate(selected).await.unwrap();
        let mut left = Vec::new();
        for key in &keys {
            left.push(read(&acme, key.clone()).await.is_some());
        }
        assert_eq!(left, survivors, "{what}");
    }
}

#[tokio::test]
async fn a_tag_is_matched_whole_and_is_no_key() {
    let acme = cache().await.tenant("acme");
    for other in ["user", "user:1", "user:10", "*", "user*", "k"] {
        acme.set(key!("k"), 1_u32, &policy().tag("user:100")).await.unwrap();
        acme.invalidate(tag(other)).await.unwrap();
        assert_eq!(read(&acme, key!("k")).await, Some(1), "{other}");
    }
    acme.invalidate(key!("user:100")).await.unwrap();
    assert_eq!(read(&acme, key!("k")).await, Some(1));
    acme.invalidate(tag("user:100")).await.unwrap();
    assert_eq!(read(&acme, key!("k")).await, None);
}

/// Something that a tenant can do.
#[derive(Clone, Debug)]
enum Op {
    Set(Vec<String>, u32, String),
    Delete(Vec<String>),
    Load(Vec<String>, u32),
    InvalidateKey(Vec<String>),
    InvalidatePrefix(Vec<String>),
    InvalidateTag(String),
    InvalidateAll,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (segments(), any::<u32>(), tag_name()).prop_map(|(key, value, tag)| Op::Set(key, value, tag)),
        1 => segments().prop_map(Op::Delete),
        2 => (segments(), any::<u32>()).prop_map(|(key, value)| Op::Load(key, value)),
        1 => segments().prop_map(Op::InvalidateKey),
        1 => segments().prop_map(Op::InvalidatePrefix),
        1 => tag_name().prop_map(Op::InvalidateTag),
        1 => Just(Op::InvalidateAll),
    ]
}

fn tag_name() -> impl Strategy<Value = String> {
    name().prop_filter("valid", |name| !name.is_empty() && name.len() <= 256)
}

fn tenant_name() -> impl Strategy<Value = String> {
    name().prop_filter("valid", |name| !name.is_empty() && name.len() <= 128)
}

async fn apply(tenant: &Tenant, op: &Op) {
    match op {
        Op::Set(path, value, tag) => {
            tenant.set(key(path), *value, &policy().tag(tag)).await.map(drop).unwrap()
        }
        Op::Delete(path) => tenant.delete(key(path)).await.map(drop).unwrap(),
        Op::Load(path, value) => {
            let value = *value;
            let load = move || async move { Ok::<_, std::convert::Infallible>(value) };
            tenant.get_or_load(key(path), &policy(), load).await.map(drop).unwrap();
        }
        Op::InvalidateKey(path) => tenant.invalidate(key(path)).await.map(drop).unwrap(),
        Op::InvalidatePrefix(path) => tenant.invalidate(Selector::Prefix(key(path))).await.map(drop).unwrap(),
        Op::InvalidateTag(name) => tenant.invalidate(tag(name)).await.map(drop).unwrap(),
        Op::InvalidateAll => tenant.invalidate(all()).await.map(drop).unwrap(),
    }
}

/// What a tenant must read: a cache that forgets nothing by itself.
#[derive(Default)]
struct Model(BTreeMap<Vec<String>, (u32, Option<String>)>);

impl Model {
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Set(path, value, tag) => drop(self.0.insert(path.clone(), (*value, Some(tag.clone())))),
            Op::Delete(path) | Op::InvalidateKey(path) => drop(self.0.remove(path)),
            Op::Load(path, value) => drop(self.0.entry(path.clone()).or_insert((*value, None))),
            Op::InvalidatePrefix(prefix) => self.0.retain(|path, _| !path.starts_with(prefix)),
            Op::InvalidateTag(tag) => self.0.retain(|_, (_, own)| own.as_ref() != Some(tag)),
            Op::InvalidateAll => self.0.clear(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// I11, and exactness: two tenants with any names do anything under any keys; each always reads what a map of its
    /// own would hold.
    #[test]
    fn two_tenants_behave_like_two_maps(
        names in (tenant_name(), tenant_name()).prop_filter("two tenants", |(a, b)| a != b),
        ops in proptest::collection::vec((any::<bool>(), op()), 1..25),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let cache = cache().await;
            let mut sides = [(cache.tenant(&names.0), Model::default()), (cache.tenant(&names.1), Model::default())];
            let paths: Vec<_> = ops.iter().filter_map(|(_, op)| path(op)).collect();
            for (second, op) in &ops {
                let (tenant, model) = &mut sides[usize::from(*second)];
                apply(tenant, op).await;
                model.apply(op);
                for (tenant, model) in &sides {
                    for &path in &paths {
                        let expected = model.0.get(path).map(|(value, _)| *value);
                        assert_eq!(read(tenant, key(path)).await, expected, "{path:?} after {op:?}");
                    }
                }
            }
        });
    }
}

fn path(op: &Op) -> Option<&Vec<String>> {
    match op {
        Op::Set(path, ..) | Op::Delete(path) | Op::Load(path, _) => Some(path),
        Op::InvalidateKey(path) | Op::InvalidatePrefix(path) => Some(path),
        Op::InvalidateTag(_) | Op::InvalidateAll => None,
    }
}
