//! A link of a faulty store to its event logs.

use super::{Call, Rules};
use bytes::Bytes;
use larder::store::log::{
    AppendReply, AppendRequest, LogLink, LogReadReply, LogReadRequest, PresenceReply, PresenceRequest, Room,
    SyncReply,
};
use larder::store::{Push, StoreFuture};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

pub(super) struct FaultyLog {
    pub(super) inner: Arc<dyn LogLink>,
    pub(super) rules: Arc<Rules>,
}

impl FaultyLog {
    fn pass<'a, T: Send + 'a>(
        &'a self,
        call: Call,
        within: Duration,
        execute: StoreFuture<'a, T>,
    ) -> StoreFuture<'a, T> {
        Box::pin(self.rules.pass_within(call, within, execute))
    }
}

impl LogLink for FaultyLog {
    fn append<'a>(&'a self, what: AppendRequest<'a>, within: Duration) -> StoreFuture<'a, AppendReply> {
        self.pass(Call::LogAppend, within, self.inner.append(what, within))
    }

    fn read<'a>(&'a self, what: LogReadRequest<'a>, within: Duration) -> StoreFuture<'a, LogReadReply> {
        self.pass(Call::LogRead, within, self.inner.read(what, within))
    }

    fn signal<'a>(&'a self, tenant: &'a str, message: &'a Bytes, within: Duration) -> StoreFuture<'a, ()> {
        self.pass(Call::LogSignal, within, self.inner.signal(tenant, message, within))
    }

    fn presence<'a>(
        &'a self,
        room: Room<'a>,
        what: PresenceRequest<'a>,
        within: Duration,
    ) -> StoreFuture<'a, PresenceReply> {
        self.pass(Call::LogPresence, within, self.inner.presence(room, what, within))
    }

    fn claim<'a>(
        &'a self,
        tenant: &'a str,
        name: &'a str,
        ttl: Duration,
        within: Duration,
    ) -> StoreFuture<'a, bool> {
        self.pass(Call::LogClaim, within, self.inner.claim(tenant, name, ttl, within))
    }

    fn sync<'a>(&'a self, within: Duration) -> StoreFuture<'a, SyncReply> {
        self.pass(Call::LogSync, within, self.inner.sync(within))
    }

    fn pushes(&self) -> Option<UnboundedReceiver<Push>> {
        self.inner.pushes()
    }

    fn drained(&self) {
        self.inner.drained();
    }
}
