//! A link of a faulty store.

use super::{Call, Rules};
use bytes::Bytes;
use larder::ScopeHash;
use larder::store::{
    AckTo, BarrierReply, BarrierRequest, EntryName, FillReply, FillRequest, HeartbeatReply, InvalidateReply,
    InvalidateRequest, LeaseReply, LeaseRequest, Link, Push, ReadReply, StoreError, StoreFuture, Tags,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

pub(super) struct FaultyLink {
    pub(super) inner: Arc<dyn Link>,
    pub(super) rules: Arc<Rules>,
}

impl FaultyLink {
    fn pass<'a, T: Send + 'a>(
        &'a self,
        call: Call,
        within: Duration,
        execute: StoreFuture<'a, T>,
    ) -> StoreFuture<'a, T> {
        Box::pin(self.rules.pass_within(call, within, execute))
    }
}

impl Link for FaultyLink {
    fn read<'a>(
        &'a self,
        entries: &'a [EntryName<'a>],
        scopes: &'a [ScopeHash],
        tags: Tags,
        within: Duration,
    ) -> StoreFuture<'a, ReadReply> {
        self.pass(Call::Read, within, self.inner.read(entries, scopes, tags, within))
    }

    fn lease<'a>(
        &'a self,
        asks: &'a [LeaseRequest<'a>],
        within: Duration,
    ) -> StoreFuture<'a, Vec<LeaseReply>> {
        self.pass(Call::Lease, within, self.inner.lease(asks, within))
    }

    fn fill<'a>(
        &'a self,
        fills: &'a [FillRequest<'a>],
        within: Duration,
    ) -> StoreFuture<'a, Vec<Result<FillReply, StoreError>>> {
        self.pass(Call::Fill, within, self.inner.fill(fills, within))
    }

    fn release<'a>(
        &'a self,
        entry: EntryName<'a>,
        key_scope: ScopeHash,
        token: &'a str,
        cooldown: Duration,
        within: Duration,
    ) -> StoreFuture<'a, ()> {
        self.pass(Call::Release, within, self.inner.release(entry, key_scope, token, cooldown, within))
    }

    fn invalidate<'a>(
        &'a self,
        what: InvalidateRequest<'a>,
        within: Duration,
    ) -> StoreFuture<'a, InvalidateReply> {
        self.pass(Call::Invalidate, within, self.inner.invalidate(what, within))
    }

    fn heartbeat<'a>(
        &'a self,
        lease: Duration,
        roll_call: bool,
        within: Duration,
    ) -> StoreFuture<'a, HeartbeatReply> {
        self.pass(Call::Heartbeat, within, self.inner.heartbeat(lease, roll_call, within))
    }

    fn barrier<'a>(&'a self, what: BarrierRequest<'a>, within: Duration) -> StoreFuture<'a, BarrierReply> {
        self.pass(Call::Barrier, within, self.inner.barrier(what, within))
    }

    fn acknowledge<'a>(&'a self, to: &'a AckTo, within: Duration) -> StoreFuture<'a, ()> {
        self.pass(Call::Acknowledge, within, self.inner.acknowledge(to, within))
    }

    fn pushes(&self) -> Option<UnboundedReceiver<Push>> {
        self.inner.pushes()
    }

    fn leave<'a>(&'a self, within: Duration) -> StoreFuture<'a, ()> {
        self.pass(Call::Leave, within, self.inner.leave(within))
    }

    fn ping<'a>(&'a self, within: Duration) -> StoreFuture<'a, ()> {
        self.pass(Call::Ping, within, self.inner.ping(within))
    }

    fn info<'a>(&'a self, within: Duration) -> StoreFuture<'a, BTreeMap<String, String>> {
        self.pass(Call::Info, within, self.inner.info(within))
    }

    fn scan<'a>(&'a self, cursor: u64, count: usize, within: Duration) -> StoreFuture<'a, (u64, Vec<Bytes>)> {
        self.pass(Call::Scan, within, self.inner.scan(cursor, count, within))
    }

    fn server(&self) -> &str {
        self.inner.server()
    }

    fn tls(&self) -> bool {
        self.inner.tls()
    }

    fn advice(&self) -> &[String] {
        self.inner.advice()
    }
}
