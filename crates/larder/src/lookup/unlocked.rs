//! A hit in memory waits for nobody: not for a lock that another's work holds, and not for code of the user's that another's
//! work runs.

use crate::engine::Engine;
use crate::key;
use crate::key::Key;
use crate::policy::Tiers;
use crate::scope::ScopeHash;
use crate::status::{Outcome, Tier};
use crate::tenant::Tenant;
use crate::testing::{Node, Row, Server, policy};
use crate::value::{Codec, CodecError, Value};
use parking_lot::Mutex;
use std::convert::Infallible;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// Long enough for any machine; a hit that waits for somebody waits for ever.
const LONG: Duration = Duration::from_secs(30);

/// How a lookup in a thread of its own, which nobody drives but itself, ends.
fn looked_up<T: Value>(acme: &Tenant, key: Key) -> (Outcome, Tier) {
    let (sender, hit) = channel();
    let acme = acme.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let load = || std::future::pending::<Result<T, Infallible>>();
        let found = runtime.block_on(acme.fetch(key, policy().tag("t"), load)).unwrap();
        let _ = sender.send((found.status.outcome, found.status.tier));
    });
    hit.recv_timeout(LONG).expect("a hit waits for nobody")
}

const HIT: (Outcome, Tier) = (Outcome::Hit, Tier::Memory);

/// A node that has a value with a tag in memory, and has followed the stream since. Whether the last look at the value was
/// before or after the last message is up to who asks.
async fn node_with_a_value() -> (Server, Node) {
    let (server, row) = (Server::new(), Row::default());
    let mut node = Node::ready(&server).await;
    node.read(&row).await.unwrap();
    server.invalidate(&[ScopeHash::of_tag("acme", "another"), ScopeHash::of_tenant("globex")]);
    assert!(node.beat().await);
    (server, node)
}

/// All that another's load, fill, invalidation, publication or eviction, the stream and whoever reads statistics lock, but
/// for the map of invalidated scopes.
fn lock_all(engine: &Engine) -> impl Sized + '_ {
    let account = engine.stats.accounts.of("acme");
    // The account outlives its guards: it is leaked, in a test.
    let quota = &Box::leak(Box::new(account)).quota;
    (
        (engine.flights.lock(), engine.failures.lock(), engine.lock_pruning()),
        (engine.stats.lock(), engine.stats.accounts.lock(), engine.stats.recent.lock(), quota.lock()),
        (
            engine.remote.as_ref().map(|remote| remote.lock()),
            engine.logs.queue.lock(),
            engine.logs.topics.lock(),
        ),
    )
}

#[tokio::test]
async fn a_hit_goes_through_while_every_lock_of_anothers_work_is_held() {
    let (_server, node) = node_with_a_value().await;
    let acme = node.acme();
    // The first hit after a change asks the map, and remembers what it said.
    assert_eq!(looked_up::<u64>(&acme, key!("k")), HIT);
    let (all, map) = (lock_all(&node.engine), node.engine.mirror.lock());
    assert_eq!(looked_up::<u64>(&acme, key!("k")), HIT);
    drop((all, map));
}

#[tokio::test]
async fn the_first_hit_after_a_change_waits_for_the_map_of_scopes_at_most() {
    let (_server, node) = node_with_a_value().await;
    let all = lock_all(&node.engine);
    let read = node.engine.mirror.lock_shared();
    assert_eq!(looked_up::<u64>(&node.acme(), key!("k")), HIT);
    drop((all, read));
}

/// What of the user's runs while a value is loaded again, and what was there makes way for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Load,
    Measure,
    Weigh,
    Encode,
    Decode,
    Drop,
}

struct Block {
    step: Step,
    reached: Sender<()>,
    opened: Receiver<()>,
}

/// The next step of this kind, of whichever value, blocks its thread.
static BLOCK: Mutex<Option<Block>> = Mutex::new(None);

fn pass(step: Step) {
    let block = BLOCK.lock().take_if(|block| block.step == step);
    if let Some(block) = block {
        block.reached.send(()).unwrap();
        block.opened.recv().unwrap();
    }
}

/// A value whose steps can be held up.
struct Held(u8);

impl Drop for Held {
    fn drop(&mut self) {
        pass(Step::Drop);
    }
}

impl Value for Held {
    const CODEC: Codec = Codec::Raw;

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        pass(Step::Encode);
        out.push(self.0);
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        pass(Step::Decode);
        bytes.first().copied().map(Held).ok_or(CodecError("read"))
    }

    fn encoded_len(&self) -> Result<usize, CodecError> {
        pass(Step::Measure);
        Ok(1)
    }

    fn weight(&self, _encoded_len: usize) -> usize {
        pass(Step::Weigh);
        1
    }
}

async fn load_held() -> Result<Held, Infallible> {
    pass(Step::Load);
    Ok(Held(1))
}

/// In one go, since there is one place to block.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hit_goes_through_while_code_of_the_users_stands_still_in_a_load_of_the_same_key() {
    for step in [Step::Load, Step::Measure, Step::Weigh, Step::Encode, Step::Decode, Step::Drop] {
        let server = Server::new();
        // As much memory as makes one shard: other keys share its lock.
        let node = Node::with(&server, |options| options.memory = 1 << 20).made_ready().await;
        let acme = node.acme();
        for key in [key!("k"), key!("other")] {
            acme.get_or_load(key, policy().tag("t"), load_held).await.unwrap();
        }
        // Who comes while a load has landed and not yet left would join it.
        node.settled().await;
        // What is kept in memory alone is measured, what goes to Redis is written.
        let tiers = if step == Step::Measure { Tiers::Memory } else { Tiers::Both };
        let (reached, is_reached) = channel();
        let (open, opened) = channel();
        *BLOCK.lock() = Some(Block { step, reached, opened });
        let (tenant, again) = (acme.clone(), policy().tag("t").tiers(tiers));
        let loading = tokio::spawn(async move {
            tenant.refresh(key!("k"), again, Duration::from_secs(120), load_held).await
        });
        is_reached.recv_timeout(LONG).unwrap_or_else(|_| panic!("{step:?} comes"));
        for key in [key!("k"), key!("other"), key!("k")] {
            assert_eq!(looked_up::<Held>(&acme, key), HIT, "{step:?}");
        }
        open.send(()).unwrap();
        loading.await.unwrap().unwrap();
    }
}
