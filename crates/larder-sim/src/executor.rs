//! Decides who runs next.
//!
//! Every task of a simulation is polled from here, one at a time, and which one of all that could go on does so is chance.
//! The order in which tasks were woken is not looked at: it depends on the runtime's own randomness in places.

use crate::chance::Chance;
use futures_util::future::BoxFuture;
use larder::simulation::Erased;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use tokio::sync::oneshot;

type Work = BoxFuture<'static, ()>;

/// Runs the tasks of a simulation. Clones share it.
#[derive(Clone)]
pub struct Executor(Arc<Inner>);

struct Inner {
    chance: Chance,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `None` while it is being polled.
    tasks: BTreeMap<u64, Option<Work>>,
    ready: BTreeSet<u64>,
    last: u64,
    heart: Option<Waker>,
}

impl Executor {
    /// Runs nothing yet.
    pub fn new(chance: Chance) -> Self {
        Self(Arc::new(Inner { chance, state: Mutex::default() }))
    }

    /// Begins a task. It ends early if the result is dropped.
    pub fn spawn(&self, task: BoxFuture<'static, Erased>) -> Running {
        let (sender, output) = oneshot::channel();
        let id = self.add(Box::pin(async move { drop(sender.send(task.await)) }));
        Running { executor: self.clone(), id, output }
    }

    /// Begins a task that runs to its end.
    pub fn detach(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.add(Box::pin(task));
    }

    fn add(&self, work: Work) -> u64 {
        let mut state = self.0.state.lock();
        state.last += 1;
        let id = state.last;
        state.tasks.insert(id, Some(work));
        state.wake(id);
        id
    }

    fn cancel(&self, id: u64) {
        let mut state = self.0.state.lock();
        state.ready.remove(&id);
        let work = state.tasks.remove(&id);
        drop(state);
        // What it drops may begin or end tasks.
        drop(work);
    }

    /// One of those that can go on, out of its place.
    fn draw(&self, waker: &Waker) -> Option<(u64, Work)> {
        let mut state = self.0.state.lock();
        loop {
            let count = state.ready.len();
            if count == 0 {
                state.heart = Some(waker.clone());
                return None;
            }
            let drawn = *state.ready.iter().nth(self.0.chance.index(count)).expect("there are so many");
            state.ready.remove(&drawn);
            if let Some(work) = state.tasks.get_mut(&drawn).and_then(Option::take) {
                return Some((drawn, work));
            }
        }
    }

    /// Runs tasks, one at a time, for ever.
    pub async fn run(self) {
        std::future::poll_fn(|cx| -> Poll<()> {
            if let Some((id, mut work)) = self.draw(cx.waker()) {
                let waker = Waker::from(Arc::new(Awaken { inner: Arc::clone(&self.0), id }));
                let ended = work.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
                let mut state = self.0.state.lock();
                let left = match state.tasks.get_mut(&id) {
                    Some(place) if !ended => place.replace(work),
                    // It has ended, or was cancelled while it ran.
                    _ => {
                        state.tasks.remove(&id);
                        Some(work)
                    }
                };
                drop(state);
                drop(left);
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await;
    }
}

impl State {
    fn wake(&mut self, id: u64) {
        self.ready.insert(id);
        if let Some(heart) = self.heart.take() {
            heart.wake();
        }
    }
}

struct Awaken {
    inner: Arc<Inner>,
    id: u64,
}

impl Wake for Awaken {
    fn wake(self: Arc<Self>) {
        let mut state = self.inner.state.lock();
        if state.tasks.contains_key(&self.id) {
            state.wake(self.id);
        }
    }
}

/// A task that runs until this is dropped.
pub struct Running {
    executor: Executor,
    id: u64,
    output: oneshot::Receiver<Erased>,
}

impl Future for Running {
    type Output = Erased;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Erased> {
        Pin::new(&mut self.output).poll(cx).map(|output| output.expect("a task ends with its result"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.executor.cancel(self.id);
    }
}
