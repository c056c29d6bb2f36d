//! The logs' way to and from Redis: a thread of its own, which follows each bucket's messages and puts events into the logs.

use super::follow::Followed;
use super::logged::LoggedEvent;
use super::logs::{Destination, Logs, closed};
use super::position::Position;
use super::presence;
use super::queue::Batch;
use super::topic::{Asked, Read, Run, Topic};
use super::topics::Kept;
use crate::breaker::pause;
use crate::error::{Error, ErrorKind};
use crate::remote::random_part;
use crate::simulation::{self, Mutant, is};
use crate::store::log::{
    AppendReply, AppendRequest, Appended, LogLink, LogReadReply, LogReadRequest, NewEvent, SyncReply,
};
use crate::store::{Connector, Push, StoreError, StoreErrorKind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};

/// How long one call may take.
pub(crate) const ATTEMPT: Duration = Duration::from_millis(500);
/// Between two attempts that a server has refused, which is about to be ready again.
const PAUSE: Duration = Duration::from_millis(25);
/// Between two attempts on a server whose memory is full.
const LONG_PAUSE: Duration = Duration::from_millis(250);
/// Between two looks at whether every message has come.
const SYNC_EVERY: Duration = Duration::from_secs(5);
/// Most time between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Calls without an answer in a row that end a link.
const TIMEOUTS: u32 = 2;
/// Logs that are read at once: after a reconnect it may be all of them.
const MAX_READS: usize = 64;
/// What one read of a log that is being followed asks for.
const READ_EVENTS: usize = 256;
const READ_BYTES: usize = 1 << 20;

/// The logs' way to and from Redis.
pub(crate) struct Bus {
    connector: Arc<dyn Connector>,
    node: String,
    buckets: Vec<Lane>,
    /// Where it runs. Begun when somebody needs it.
    runtime: OnceLock<Result<Handle, String>>,
    reads: Arc<Semaphore>,
    /// The number of the last batch of events.
    batches: AtomicU64,
}

/// One bucket.
struct Lane {
    link: watch::Sender<Option<Arc<dyn LogLink>>>,
    /// Told when the link is no good.
    lost: Notify,
    /// Whether the first attempt to connect has ended.
    tried: watch::Sender<bool>,
}

impl Bus {
    pub(crate) fn new(connector: Arc<dyn Connector>, node: String) -> Self {
        let lane =
            |_| Lane { link: watch::channel(None).0, lost: Notify::new(), tried: watch::channel(false).0 };
        Self {
            buckets: (0..connector.buckets()).map(lane).collect(),
            connector,
            node,
            runtime: OnceLock::new(),
            reads: Arc::new(Semaphore::new(MAX_READS)),
            batches: AtomicU64::new(0),
        }
    }

    /// Begins to follow, if that has not begun.
    pub(crate) fn start(&self, logs: &Arc<Logs>) -> Result<&Handle, Error> {
        let started =
            self.runtime.get_or_init(|| run(logs, self.buckets.len()).map_err(|error| error.to_string()));
        started.as_ref().map_err(|error| {
            Error::new(ErrorKind::Unavailable, format!("no thread for the event log: {error}"))
        })
    }

    /// The link to a bucket, if there is one now.
    pub(crate) fn link(&self, bucket: usize) -> Option<Arc<dyn LogLink>> {
        self.buckets[bucket].link.borrow().clone()
    }

    /// The link to a bucket, as soon as there is one.
    async fn linked(&self, bucket: usize) -> Arc<dyn LogLink> {
        let mut link = self.buckets[bucket].link.subscribe();
        let found = link.wait_for(Option::is_some).await.ok().and_then(|link| link.clone());
        match found {
            Some(found) => found,
            None => std::future::pending().await,
        }
    }

    /// The same, if it does not take long. The first attempt is waited for: every step of it has a deadline.
    pub(crate) async fn linked_soon(&self, bucket: usize) -> Option<Arc<dyn LogLink>> {
        self.tried(bucket).await;
        timeout(ATTEMPT, self.linked(bucket)).await.ok()
    }

    /// Until the first attempt to connect has ended.
    pub(crate) async fn tried(&self, bucket: usize) {
        let _ = self.buckets[bucket].tried.subscribe().wait_for(|tried| *tried).await;
    }

    /// The link is no good: another is made.
    fn lose(&self, bucket: usize, link: &Arc<dyn LogLink>) {
        let lane = &self.buckets[bucket];
        if self.link(bucket).is_some_and(|current| Arc::ptr_eq(&current, link)) {
            lane.link.send_replace(None);
            lane.lost.notify_one();
        }
    }

    /// Learns from the outcome of a call.
    pub(crate) fn note<T>(
        &self,
        bucket: usize,
        link: &Arc<dyn LogLink>,
        outcome: &Result<T, StoreError>,
        timeouts: &mut u32,
    ) {
        match outcome {
            Ok(_) => *timeouts = 0,
            Err(error) if error.kind == StoreErrorKind::Timeout => {
                *timeouts += 1;
                if *timeouts >= TIMEOUTS {
                    *timeouts = 0;
                    self.lose(bucket, link);
                }
            }
            Err(error) if error.kind.link_survives() => {}
            Err(_) => self.lose(bucket, link),
        }
    }

    /// Puts the tenant's events into the log, until none is left that may enter it.
    pub(crate) fn pump(&self, logs: &Arc<Logs>, to: &Destination) {
        let (tenant, bucket) = (Arc::clone(&to.tenant), to.bucket);
        let started = match self.start(logs) {
            Ok(runtime) => runtime,
            Err(error) => {
                while let Some(batch) = logs.queue.take(&tenant) {
                    batch.finish(&error);
                }
                return;
            }
        };
        let (token, logs) = (logs.ends.tasks.token(), Arc::clone(logs));
        started.spawn(simulation::task(async move {
            let _token = token;
            let Some(bus) = &logs.bus else { return };
            // One for all of them: a shutdown waits no longer for many than for one.
            let given_up = logs.gives_up();
            tokio::pin!(given_up);
            let mut is_over = false;
            while let Some(batch) = logs.queue.take(&tenant) {
                if is_over {
                    batch.finish(&closed());
                } else {
                    is_over = bus.append(&logs, &tenant, bucket, batch, given_up.as_mut()).await.is_err();
                }
            }
        }));
    }

    /// Has a topic read what it misses, if it does.
    pub(crate) fn catch_up(&self, logs: &Arc<Logs>, topic: &Arc<Topic>) -> Result<(), Error> {
        let runtime = self.start(logs)?;
        if let Some(asked) = topic.begin_reading() {
            runtime.spawn(simulation::task(read_on(Arc::clone(logs), Arc::clone(topic), asked)));
        }
        Ok(())
    }

    /// Puts events into the log, however long it takes. `Err`: `given_up` ended before that.
    async fn append(
        &self,
        logs: &Logs,
        tenant: &Arc<str>,
        bucket: usize,
        batch: Batch,
        mut given_up: Pin<&mut (impl Future<Output = ()> + Send)>,
    ) -> Result<(), ()> {
        let Batch { counted, items, renew } = batch;
        let mut new_epoch = logs.names.next();
        let (number, mut timeouts) = (self.batches.fetch_add(1, Ordering::Relaxed) + 1, 0);
        loop {
            let link = tokio::select! {
                biased;
                link = self.linked(bucket) => link,
                () = &mut given_up => break,
            };
            let events: Vec<NewEvent<'_>> = items
                .iter()
                .map(|item| NewEvent { id: &item.id, keyed: item.keyed, json: &item.json })
                .collect();
            // Of each attempt its own: what one has begun may have been lost since, and seen before that.
            if !is(Mutant::EpochNamedTwice) {
                new_epoch = logs.names.next();
            }
            let what = AppendRequest { tenant, events: &events, new_epoch: &new_epoch, renew, batch: number };
            let reply = tokio::select! {
                reply = link.append(what, ATTEMPT) => reply,
                () = &mut given_up => break,
            };
            self.note(bucket, &link, &reply, &mut timeouts);
            match reply {
                Ok(AppendReply::Done(places)) if places.len() == items.len() => {
                    logs.counts.appended.fetch_add(items.len() as u64, Ordering::Relaxed);
                    drop(counted);
                    for (item, (epoch, offset)) in items.into_iter().zip(places) {
                        item.finish(Ok(Position::new(epoch, offset)));
                    }
                    return Ok(());
                }
                Ok(AppendReply::Recover) => sleep(PAUSE).await,
                Ok(AppendReply::Done(_)) => self.lose(bucket, &link),
                // Nothing was done.
                Err(error) if error.kind == StoreErrorKind::OutOfMemory => sleep(LONG_PAUSE).await,
                Err(_) => sleep(PAUSE).await,
            }
        }
        items.into_iter().for_each(|item| item.finish(Err(closed())));
        Err(())
    }
}

/// Reads on until nothing is missing, or the link has ended: who makes the next one begins again.
async fn read_on(logs: Arc<Logs>, topic: Arc<Topic>, mut asked: Asked) {
    let Some(bus) = &logs.bus else { return };
    let mut timeouts = 0;
    loop {
        let place = bus.reads.acquire().await;
        let Some(link) = bus.link(topic.bucket) else { return topic.stop_reading() };
        let is_taken = match read(bus, &logs, &topic, &link, &asked, &mut timeouts).await {
            Ok(Some(read)) => {
                let mut resets = 0;
                let is_taken = topic.read(&asked, read, logs.now(), &mut resets);
                logs.counts.resets.fetch_add(resets, Ordering::Relaxed);
                is_taken
            }
            Ok(None) | Err(()) => false,
        };
        // Others need not wait while this one has to.
        drop(place);
        if !is_taken {
            sleep(PAUSE).await;
        }
        match topic.go_on_reading() {
            Some(next) => asked = next,
            None => return,
        }
    }
}

/// `None`: the server is not ready.
async fn read(
    bus: &Bus,
    logs: &Logs,
    topic: &Topic,
    link: &Arc<dyn LogLink>,
    asked: &Asked,
    timeouts: &mut u32,
) -> Result<Option<Read>, ()> {
    let new_epoch = logs.names.next();
    let what = LogReadRequest {
        tenant: &topic.tenant,
        after: (&asked.at.epoch, asked.at.offset),
        new_epoch: &new_epoch,
        max_events: READ_EVENTS,
        max_bytes: READ_BYTES,
    };
    let reply = link.read(what, ATTEMPT).await;
    bus.note(topic.bucket, link, &reply, timeouts);
    match reply.map_err(drop)? {
        LogReadReply::Recover => Ok(None),
        LogReadReply::Log { epoch, head, events } => {
            Ok(Some(Read { head: Position::new(epoch, head), events }))
        }
    }
}

/// Starts the thread.
fn run(logs: &Arc<Logs>, buckets: usize) -> std::io::Result<Handle> {
    // A simulated node has no thread of its own for this.
    #[cfg(feature = "simulation")]
    if simulation::current().is_some() {
        for bucket in 0..buckets {
            tokio::spawn(simulation::task(follow(Arc::clone(logs), bucket)));
        }
        return Ok(Handle::current());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let (logs, running) = (Arc::clone(logs), logs.ends.background.token());
    let work = move || {
        let ending = logs.ends.ending.clone();
        let followers = (0..buckets).map(|bucket| follow(Arc::clone(&logs), bucket));
        let all = futures_util::future::join_all(followers.map(|one| runtime.spawn(one)));
        runtime.block_on(async {
            tokio::select! {
                () = ending.cancelled() => {}
                _ = all => {}
            }
        });
        drop((runtime, running));
    };
    std::thread::Builder::new().name("larder-events".to_owned()).spawn(work)?;
    Ok(handle)
}

/// Follows one bucket.
async fn follow(logs: Arc<Logs>, bucket: usize) {
    let Some(bus) = &logs.bus else { return };
    let number = u16::try_from(bucket).expect("there are few buckets");
    let mut follower = Follower { logs: &logs, bus, bucket, known: None };
    let (mut failures, mut told) = (0, false);
    loop {
        let connected = bus.connector.connect_log(&bus.node, number).await;
        if connected.is_err() {
            bus.buckets[bucket].tried.send_replace(true);
        }
        match connected {
            Ok(link) => {
                let mut is_known = false;
                let ended = follower.follow(&link, &mut is_known).await;
                bus.lose(bucket, &link);
                bus.buckets[bucket].tried.send_replace(true);
                logs.counts.reconnects.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(target: "larder::events", bucket, ended, "the connection of the event log has ended");
                if is_known {
                    (failures, told) = (0, false);
                } else {
                    // One that was of no use is no reason to make the next at once.
                    sleep(pause(failures, random_part(), LONGEST_PAUSE)).await;
                    failures = failures.saturating_add(1);
                }
            }
            Err(error) => {
                if failures > 0 && !std::mem::replace(&mut told, true) {
                    tracing::warn!(target: "larder::events", bucket, %error, "the event log is out of reach: events wait");
                }
                sleep(pause(failures, random_part(), LONGEST_PAUSE)).await;
                failures = failures.saturating_add(1);
            }
        }
    }
}

/// What follows one bucket's messages.
struct Follower<'a> {
    logs: &'a Arc<Logs>,
    bus: &'a Bus,
    bucket: usize,
    /// How far it has come: over all links.
    known: Option<Known>,
}

#[derive(Clone, Copy)]
struct Known {
    epoch: Option<u64>,
    seq: u64,
}

impl Follower<'_> {
    /// Follows until the link ends; why it did. `is_known`: whether it has ever been known how far the logs are.
    async fn follow(&mut self, link: &Arc<dyn LogLink>, is_known: &mut bool) -> &'static str {
        let Some(mut pushes) = link.pushes() else { return "no stream" };
        let lane = &self.bus.buckets[self.bucket];
        // What is told of a link before this is of no concern.
        let lost = lane.lost.notified();
        tokio::pin!(lost);
        lost.as_mut().enable();
        let mut due = Instant::now();
        let mut refresh = Instant::now();
        loop {
            tokio::select! {
                biased;
                push = pushes.recv() => {
                    if !self.apply(push) { return "the connection ended" }
                    if pushes.is_empty() { link.drained() }
                }
                () = lost.as_mut() => {
                    if self.bus.link(self.bucket).is_none() && *is_known { return "a call failed" }
                    lost.set(lane.lost.notified());
                }
                () = tokio::time::sleep_until(due) => {
                    match self.sync(link, &mut pushes).await {
                        Err(ended) => return ended,
                        // The coherence state is being made.
                        Ok(false) => due = Instant::now() + PAUSE,
                        Ok(true) => {
                            due = Instant::now() + SYNC_EVERY;
                            if !std::mem::replace(is_known, true) {
                                lane.link.send_replace(Some(Arc::clone(link)));
                                lane.tried.send_replace(true);
                                self.read_behind();
                            }
                            self.logs.topics.sweep(Kept::Elsewhere, self.logs.now());
                            if Instant::now() >= refresh {
                                refresh = Instant::now() + presence::REFRESH_EVERY;
                                self.refresh();
                            }
                        }
                    }
                }
            }
        }
    }

    /// Looks whether every message has come. `false`: the server can't say yet.
    async fn sync(
        &mut self,
        link: &Arc<dyn LogLink>,
        pushes: &mut UnboundedReceiver<Push>,
    ) -> Result<bool, &'static str> {
        let asked = self.known;
        let reply = {
            let call = async {
                match timeout(ATTEMPT * 2, link.sync(ATTEMPT)).await {
                    Ok(Ok(reply)) => Ok(reply),
                    // Once more: a moment without an answer is not worth a connection.
                    _ => link.sync(ATTEMPT).await,
                }
            };
            tokio::pin!(call);
            loop {
                tokio::select! {
                    biased;
                    push = pushes.recv() => if !self.apply(push) { return Err("the connection ended") },
                    reply = &mut call => break reply,
                }
            }
        };
        while let Ok(push) = pushes.try_recv() {
            if !self.apply(Some(push)) {
                return Err("the connection ended");
            }
        }
        link.drained();
        let Ok(SyncReply { epoch, seq }) = reply else { return Err("it does not answer") };
        if epoch.is_none() {
            return Ok(false);
        }
        // It was told of more than there are: they are counted from the beginning again.
        let anew = asked.is_some_and(|asked| asked.seq > seq);
        match self.known {
            Some(known)
                if !anew && (known.epoch == epoch || is(Mutant::EpochsOfLogsIgnored)) && known.seq >= seq => {
            }
            Some(_) if is(Mutant::LogsNotCompared) => {}
            Some(_) => self.missed(),
            None => {}
        }
        let told = self.known.filter(|known| known.epoch == epoch && !anew);
        let seq = told.map_or(seq, |known| known.seq.max(seq));
        self.known = Some(Known { epoch, seq });
        Ok(true)
    }

    /// Takes a message. `false`: there will be no more.
    fn apply(&mut self, push: Option<Push>) -> bool {
        match push {
            Some(Push::Appended(appended)) => self.appended(appended),
            Some(Push::Signal { tenant, message }) => self.logs.signal_here(&tenant, message),
            Some(Push::Lost) | None => return false,
            Some(_) => {}
        }
        true
    }

    fn appended(&mut self, appended: Appended) {
        let Appended { seq, tenant, epoch, first, events } = appended;
        if let Some(known) = &mut self.known {
            let follows = seq == known.seq + 1 || is(Mutant::LostMessagesIgnored);
            known.seq = seq;
            if !follows {
                self.missed();
            }
        }
        let run = Run { epoch: epoch.into(), first, events };
        if self.logs.followers.receiver_count() > 0 {
            self.tell_followers(&tenant, &run);
        }
        let Some(topic) = self.logs.topics.get(&tenant) else { return };
        if topic.told(&run, self.logs.now()) && topic.is_watched() {
            self.read(&topic);
        }
    }

    fn tell_followers(&self, tenant: &str, run: &Run) {
        let tenant: Arc<str> = tenant.into();
        for (offset, json) in (run.first..).zip(&run.events) {
            if let Some(event) = LoggedEvent::read(&tenant, &run.epoch, offset, json.clone()) {
                self.logs.tell_followers(&Arc::new(event));
            }
        }
    }

    /// Messages were missed, and nobody knows of whom.
    fn missed(&self) {
        self.logs.counts.missed.fetch_add(1, Ordering::Relaxed);
        self.logs.topics.in_bucket(self.bucket).iter().for_each(|topic| topic.doubt());
        let _ = self.logs.followers.send(Followed::Missed);
        self.read_behind();
    }

    /// Has those read on that miss something and are watched. Others do so when somebody watches them.
    fn read_behind(&self) {
        for topic in self.logs.topics.in_bucket(self.bucket) {
            if topic.is_watched() {
                self.read(&topic);
            }
        }
    }

    /// Tells Redis who is still there.
    fn refresh(&self) {
        let (logs, bucket) = (Arc::clone(self.logs), self.bucket);
        tokio::spawn(simulation::task(async move { presence::refresh(&logs, bucket).await }));
    }

    fn read(&self, topic: &Arc<Topic>) {
        // It has been started: this runs on it.
        let _ = self.bus.catch_up(self.logs, topic);
    }
}
