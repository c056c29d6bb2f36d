//! The links of the server in memory: what one node sees of it.

use super::*;

impl Connector for Server {
    fn connect<'a>(
        &'a self,
        node: &'a str,
        _bucket: u16,
        force_epoch: bool,
    ) -> StoreFuture<'a, (Arc<dyn Link>, Recovered)> {
        Box::pin(async move {
            let alive = Arc::new(AtomicBool::new(true));
            let (sender, pushes) = unbounded_channel();
            let subscriber = Subscriber { node: node.to_owned(), alive: Arc::clone(&alive), pushes: sender };
            self.state.lock().subscribers.push(subscriber);
            // Between subscription and recovery others may do something.
            let recover = |state: &mut State, now| state.recover(force_epoch, now);
            let recovered = self.run(Call::Connect, &alive, Duration::ZERO, recover).await?;
            let link = MemoryLink {
                server: self.clone(),
                node: node.to_owned(),
                alive,
                pushes: Mutex::new(Some(pushes)),
            };
            Ok((Arc::new(link) as Arc<dyn Link>, recovered))
        })
    }

    fn address(&self) -> String {
        "memory".to_owned()
    }
}

/// A link to a [`Server`].
struct MemoryLink {
    server: Server,
    node: String,
    alive: Arc<AtomicBool>,
    pushes: Mutex<Option<UnboundedReceiver<Push>>>,
}

impl Drop for MemoryLink {
    fn drop(&mut self) {
        self.alive.store(false, Ordering::SeqCst);
        self.server.state.lock().subscribers.retain(|one| one.alive.load(Ordering::SeqCst));
    }
}

impl Link for MemoryLink {
    fn read<'a>(
        &'a self,
        entries: &'a [EntryName<'a>],
        scopes: &'a [ScopeHash],
        tags: Tags,
        within: Duration,
    ) -> StoreFuture<'a, ReadReply> {
        let run = move |state: &mut State, _| state.read(entries, scopes, tags);
        Box::pin(self.server.run(Call::Read, &self.alive, within, run))
    }

    fn lease<'a>(
        &'a self,
        asks: &'a [LeaseRequest<'a>],
        within: Duration,
    ) -> StoreFuture<'a, Vec<LeaseReply>> {
        let run =
            move |state: &mut State, now| asks.iter().map(|ask| state.lease(ask, &self.node, now)).collect();
        Box::pin(self.server.run(Call::Lease, &self.alive, within, run))
    }

    fn fill<'a>(
        &'a self,
        fills: &'a [FillRequest<'a>],
        within: Duration,
    ) -> StoreFuture<'a, Vec<Result<FillReply, StoreError>>> {
        let run = move |state: &mut State, _| fills.iter().map(|fill| state.fill(fill)).collect();
        Box::pin(self.server.run(Call::Fill, &self.alive, within, run))
    }

    fn release<'a>(
        &'a self,
        entry: EntryName<'a>,
        key_scope: ScopeHash,
        token: &'a str,
        cooldown: Duration,
        within: Duration,
    ) -> StoreFuture<'a, ()> {
        let run = move |state: &mut State, now: u64| {
            if state.leases.get(&name(entry)).is_some_and(|lease| lease.token == token) {
                let mut lease = state.leases.remove(&name(entry)).expect("it is there");
                state.wake(&std::mem::take(&mut lease.waiting), key_scope);
                if !cooldown.is_zero() {
                    let expires = now + u64::try_from(cooldown.as_micros()).expect("short");
                    let (token, node) = (String::new(), String::new());
                    let failed = LeaseRecord { token, node, expires, failed: true, ..lease };
                    state.leases.insert(name(entry), failed);
                }
            }
        };
        Box::pin(self.server.run(Call::Release, &self.alive, within, run))
    }

    fn invalidate<'a>(
        &'a self,
        what: InvalidateRequest<'a>,
        within: Duration,
    ) -> StoreFuture<'a, InvalidateReply> {
        let run = move |state: &mut State, now| state.invalidate(&what, &self.node, now);
        Box::pin(self.server.run(Call::Invalidate, &self.alive, within, run))
    }

    fn barrier<'a>(&'a self, what: BarrierRequest<'a>, within: Duration) -> StoreFuture<'a, BarrierReply> {
        let run = move |state: &mut State, now| state.barrier(&what, &self.node, now);
        Box::pin(self.server.run(Call::Barrier, &self.alive, within, run))
    }

    fn acknowledge<'a>(&'a self, to: &'a AckTo, within: Duration) -> StoreFuture<'a, ()> {
        let run = move |state: &mut State, _| state.acknowledge(to, &self.node);
        Box::pin(self.server.run(Call::Acknowledge, &self.alive, within, run))
    }

    fn heartbeat<'a>(
        &'a self,
        lease: Duration,
        roll_call: bool,
        within: Duration,
    ) -> StoreFuture<'a, HeartbeatReply> {
        let lease = u64::try_from(lease.as_micros()).expect("short");
        let run = move |state: &mut State, now| state.heartbeat(&self.node, lease, roll_call, now);
        Box::pin(self.server.run(Call::Heartbeat, &self.alive, within, run))
    }

    fn pushes(&self) -> Option<UnboundedReceiver<Push>> {
        self.pushes.lock().take()
    }

    fn leave<'a>(&'a self, _within: Duration) -> StoreFuture<'a, ()> {
        Box::pin(async {
            if let Some(coherence) = &mut self.server.state.lock().coherence {
                coherence.nodes.remove(&self.node);
            }
            Ok(())
        })
    }

    fn ping<'a>(&'a self, _within: Duration) -> StoreFuture<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn info<'a>(&'a self, _within: Duration) -> StoreFuture<'a, BTreeMap<String, String>> {
        Box::pin(async { Ok(BTreeMap::new()) })
    }

    fn scan<'a>(
        &'a self,
        _cursor: u64,
        _count: usize,
        _within: Duration,
    ) -> StoreFuture<'a, (u64, Vec<Bytes>)> {
        Box::pin(async { Ok((0, Vec::new())) })
    }

    fn server(&self) -> &str {
        "memory"
    }

    fn tls(&self) -> bool {
        false
    }

    fn advice(&self) -> &[String] {
        &[]
    }
}
