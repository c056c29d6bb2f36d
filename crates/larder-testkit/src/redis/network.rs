//! The network between the servers of one set-up, so that it can be parted.

use crate::proxy::TcpProxy;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Every member is announced to the others, and to clients, by the ports of its proxies, and calls the others from an
/// address of its own. So a proxy can tell by whom it is called, and a partition is a rule of the proxies.
#[derive(Debug)]
pub(super) struct Network {
    /// Each member's ways in.
    ways: Vec<Vec<Way>>,
    away: Mutex<Vec<usize>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Way {
    proxy: TcpProxy,
    upstream: Arc<OnceLock<String>>,
}

impl Network {
    /// `ways` ports for each of `members`. They live on a thread of their own, whatever runtime the test has.
    pub(super) fn start(members: usize, ways: usize) -> Self {
        let (ready, made) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("larder-testkit network".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(async {
                let mut all = Vec::with_capacity(members);
                for _ in 0..members {
                    let mut own = Vec::with_capacity(ways);
                    for _ in 0..ways {
                        let upstream = Arc::new(OnceLock::new());
                        own.push(Way {
                            proxy: TcpProxy::start_before(Arc::clone(&upstream)).await,
                            upstream,
                        });
                    }
                    all.push(own);
                }
                let _ = ready.send(all);
                // Comes to its end by the drop of the other half.
                let _ = stopped.await;
            });
        });
        let thread = thread.expect("a thread can be started");
        let ways = made.recv().expect("the proxies are there or their thread has panicked");
        Self { ways, away: Mutex::default(), stop: Some(stop), thread: Some(thread) }
    }

    /// The port under which a member is known.
    pub(super) fn port(&self, member: usize, way: usize) -> u16 {
        self.ways[member][way].proxy.port()
    }

    pub(super) fn proxy(&self, member: usize, way: usize) -> &TcpProxy {
        &self.ways[member][way].proxy
    }

    /// Which member has this port.
    pub(super) fn member(&self, port: u16, way: usize) -> Option<usize> {
        self.ways.iter().position(|own| own[way].proxy.port() == port)
    }

    /// Says where a member listens.
    pub(super) fn connect(&self, member: usize, way: usize, port: u16) {
        self.ways[member][way].upstream.set(format!("127.0.0.1:{port}")).expect("a member is connected once");
    }

    /// The address from which a member calls the others; none where a host has but one loopback address.
    pub(super) fn source(member: usize) -> Option<IpAddr> {
        let last = u8::try_from(member + 1).expect("there are not that many members");
        cfg!(target_os = "linux").then_some(IpAddr::V4(Ipv4Addr::new(127, 0, 1, last)))
    }

    /// Parts these members from all others; they reach each other, and clients reach all. Replaces the partition before.
    ///
    /// # Panics
    /// Elsewhere than on Linux.
    pub(super) fn part(&self, away: &[usize]) {
        for (member, ways) in self.ways.iter().enumerate() {
            let beyond = |other: &usize| away.contains(other) != away.contains(&member);
            let severed: Vec<IpAddr> = (0..self.ways.len())
                .filter(beyond)
                .map(|other| Self::source(other).expect("partitions need Linux: one address for each member"))
                .collect();
            ways.iter().for_each(|way| way.proxy.sever(&severed));
        }
        *self.away.lock().unwrap_or_else(PoisonError::into_inner) = away.to_vec();
    }

    /// Ends the partition.
    pub(super) fn heal(&self) {
        self.ways.iter().flatten().for_each(|way| way.proxy.sever(&[]));
        self.away.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether a member is parted from the others.
    pub(super) fn is_away(&self, member: usize) -> bool {
        self.away.lock().unwrap_or_else(PoisonError::into_inner).contains(&member)
    }

    /// The hosts of a URL.
    pub(super) fn hosts(&self, members: impl IntoIterator<Item = usize>) -> String {
        let mut hosts = String::new();
        for member in members {
            let comma = if hosts.is_empty() { "" } else { "," };
            write!(hosts, "{comma}127.0.0.1:{}", self.port(member, 0)).expect("a string takes all");
        }
        hosts
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
