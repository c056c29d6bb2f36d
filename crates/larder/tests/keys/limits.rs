//! The longest names, and one byte more.

use crate::{cache, policy};
use larder::{Error, ErrorKind, Tenant, all, key, prefix, tag};
use std::convert::Infallible;

/// Each way to use a tenant with a key; all must agree on what is valid.
async fn use_it(tenant: &Tenant, name: &str) -> Vec<Result<(), Error>> {
    let load = || async { Ok::<_, Infallible>(1_u8) };
    vec![
        tenant.set(key!("k", name), 1_u8, &policy()).await.map(drop),
        tenant.get::<u8>(key!("k", name)).await.map(drop),
        tenant.get_or_load(key!("k", name), &policy(), load).await.map(drop),
        tenant.fetch(key!("k", name), &policy(), load).await.map(drop),
        tenant.get_many::<u8>(&[key!("k", name)]).await.map(drop),
        tenant.set_many(vec![(key!("k", name), 1_u8)], &policy()).await.map(drop),
        tenant.delete(key!("k", name)).await.map(drop),
        tenant.invalidate(key!("k", name)).await.map(drop),
        tenant.invalidate(prefix!("k", name)).await.map(drop),
    ]
}

fn kinds(results: Vec<Result<(), Error>>) -> Vec<Option<ErrorKind>> {
    results.into_iter().map(|result| result.err().map(|error| error.kind())).collect()
}

#[tokio::test]
async fn a_key_of_one_kibibyte_is_taken_and_one_byte_more_is_refused_everywhere() {
    let acme = cache().await.tenant("acme");
    let longest = 1024 - "k:".len();
    for filler in ["x", "*", " "] {
        let results = kinds(use_it(&acme, &filler.repeat(longest)).await);
        assert!(results.iter().all(Option::is_none), "{filler:?}: {results:?}");
        let results = kinds(use_it(&acme, &filler.repeat(longest + 1)).await);
        assert!(results.iter().all(|kind| *kind == Some(ErrorKind::InvalidKey)), "{filler:?}: {results:?}");
    }
}

#[tokio::test]
async fn escapes_count_as_the_bytes_they_become() {
    let acme = cache().await.tenant("acme");
    assert!(acme.get::<u8>(key!("k", ":".repeat(340), "ab")).await.is_err());
    assert!(acme.get::<u8>(key!("k", ":".repeat(340), "x")).await.is_ok());
    assert!(acme.get::<u8>(key!(format!("x{}", ":".repeat(341)))).await.is_ok());
    assert!(acme.get::<u8>(key!(format!("xx{}", ":".repeat(341)))).await.is_err());
    assert!(acme.get::<u8>(key!("🦀".repeat(256))).await.is_ok());
    assert!(acme.get::<u8>(key!("🦀".repeat(256), "")).await.is_err());
    assert!(acme.get::<u8>(key!("🦀:".repeat(200))).await.is_err());
}

#[tokio::test]
async fn a_refused_key_never_reaches_the_loader() {
    let acme = cache().await.tenant("acme");
    let load = || async { Err::<u8, _>(std::io::Error::other("the loader ran")) };
    let refused = acme.get_or_load(key!("x".repeat(1025)), &policy(), load).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidKey);
}

#[tokio::test]
async fn a_tenant_of_128_bytes_is_taken_and_one_more_or_none_is_refused_everywhere() {
    let cache = cache().await;
    for name in ["x".repeat(128), "é".repeat(64), "\0".repeat(128), "*".to_owned(), "{".to_owned()] {
        let results = kinds(use_it(&cache.tenant(&name), "k").await);
        assert!(results.iter().all(Option::is_none), "{name:?}: {results:?}");
    }
    for name in ["x".repeat(129), "é".repeat(64) + "x", String::new()] {
        let tenant = cache.tenant(&name);
        let results = kinds(use_it(&tenant, "k").await);
        assert!(results.iter().all(|kind| *kind == Some(ErrorKind::InvalidTenant)), "{name:?}: {results:?}");
        assert_eq!(tenant.invalidate(all()).await.unwrap_err().kind(), ErrorKind::InvalidTenant);
        assert_eq!(tenant.invalidate(tag("t")).await.unwrap_err().kind(), ErrorKind::InvalidTenant);
    }
}

#[tokio::test]
async fn a_tag_of_256_bytes_is_taken_and_one_more_or_none_is_refused() {
    let acme = cache().await.tenant("acme");
    for (name, fits) in
        [("x".repeat(256), true), ("x".repeat(257), false), (String::new(), false), ("\0*".to_owned(), true)]
    {
        let kind = (!fits).then_some(ErrorKind::InvalidTag);
        let set = acme.set(key!("k"), 1_u8, &policy().tag(&name)).await;
        assert_eq!(set.err().map(|e| e.kind()), kind, "{name:?}");
        let invalidated = acme.invalidate(tag(&name)).await;
        assert_eq!(invalidated.err().map(|e| e.kind()), kind, "{name:?}");
    }
}
