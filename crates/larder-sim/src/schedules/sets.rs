//! Values that are set: as old as the call.

use super::stage::{Seen, Stage, the_key};
use super::{Schedule, play};
use crate::network::of_an_entry;
use larder::{Selector, glob, tag};
use std::sync::Arc;

pub(super) const ALL: &[Schedule] = &[
    Schedule::new("a value that is set is kept where nothing concerns it", play!(kept)),
    Schedule::new(
        "a tag is invalidated between a set and its own invalidation",
        play!(overtaken, 0, tag("one")),
    ),
    Schedule::new(
        "the key is invalidated between a set and its own invalidation",
        play!(overtaken, 0, the_key().into()),
    ),
    Schedule::new(
        "a tag is invalidated between a set's own invalidation and its lease",
        play!(overtaken, 1, tag("one")),
    ),
    Schedule::new(
        "the key is invalidated between a set's own invalidation and its lease",
        play!(overtaken, 1, the_key().into()),
    ),
    Schedule::new("a tag is invalidated between a set's lease and its fill", play!(overtaken, 2, tag("one"))),
    Schedule::new(
        "the key is invalidated between a set's lease and its fill",
        play!(overtaken, 2, the_key().into()),
    ),
    Schedule::new("a pattern between a set and its own invalidation", play!(overtaken, 0, glob("a:*"))),
    Schedule::new(
        "a pattern between a set's own invalidation and its lease",
        play!(overtaken, 1, glob("*:1")),
    ),
    Schedule::new("a pattern between a set's lease and its fill", play!(overtaken, 2, glob("a*"))),
    Schedule::new("a set does not hear that its key was invalidated before its lease", play!(unheard)),
    Schedule::new("nobody is given a value that was set and overtaken before he asked", play!(joined)),
    Schedule::new("of two who set a key at once neither hides what the other committed", play!(at_once)),
];

/// Nothing is loaded by anybody.
async fn kept(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.network.hold(0, of_an_entry, false);
    let needed = stage.commit();
    let setting = stage.setting(&a);
    stage.network.reached().await;
    stage.tell(&b, tag("other")).await;
    stage.network.release();
    setting.await.expect("it runs to its end").expect("Redis is there");
    let seen = stage.read_both(&a, &b).await;
    (if stage.loads() == 0 { seen } else { 0 }, needed)
}

/// `skip` scripts of the set run before the other's invalidation: its own invalidation, its lease.
async fn overtaken(stage: Arc<Stage>, skip: u32, what: Selector) -> Seen {
    let (a, b) = stage.two().await;
    stage.network.hold_later(0, of_an_entry, false, skip);
    let setting = stage.setting(&a);
    stage.network.reached().await;
    let needed = stage.change(&b, what).await;
    stage.pass(20).await;
    stage.network.release();
    setting.await.expect("it runs to its end").expect("Redis is there");
    (stage.read_both(&a, &b).await, needed)
}

async fn unheard(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.network.hold_later(0, of_an_entry, false, 1);
    let setting = stage.setting(&a);
    stage.network.reached().await;
    let needed = stage.change_unheard(&b, 0, the_key()).await;
    stage.network.release();
    setting.await.expect("it runs to its end").expect("Redis is there");
    (stage.read(&b).await, needed)
}

async fn joined(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.network.hold(0, of_an_entry, false);
    let setting = stage.setting(&a);
    stage.network.reached().await;
    let needed = stage.commit();
    stage.invalidating(&b, tag("one"), true).await.expect("it runs to its end").expect("all are there");
    // Its own invalidation goes on, its lease waits.
    stage.network.hold(0, of_an_entry, false);
    stage.network.reached().await;
    let reading = stage.reading(&a);
    stage.pass(5).await;
    stage.network.release();
    setting.await.expect("it runs to its end").expect("Redis is there");
    (reading.await.expect("it runs to its end").0, needed)
}

async fn at_once(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.network.hold(0, of_an_entry, false);
    let first = stage.setting(&a);
    stage.network.reached().await;
    let needed = stage.commit();
    stage.setting(&b).await.expect("it runs to its end").expect("Redis is there");
    stage.network.release();
    first.await.expect("it runs to its end").expect("Redis is there");
    stage.pass(5).await;
    (stage.read_both(&a, &b).await, needed)
}
