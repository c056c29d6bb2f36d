//! Stops a thread of a node between two steps of the protocol, while everything else goes on.
//!
//! A task is polled on a thread of its own. Only one of all threads runs at any time: the other waits until it is handed the
//! turn, so what happens still follows from the seed.

use futures_util::future::BoxFuture;
use larder::simulation::{Erased, Simulator, within};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll, Waker};
use tokio::runtime::Handle;

/// A task that was polled: what it came to, or itself.
pub(super) type Polled = Result<Erased, BoxFuture<'static, Erased>>;

enum Told {
    /// It stands somewhere, and goes on when told.
    Stopped,
    Polled(Polled),
}

struct Actor {
    tell: Sender<Told>,
    go_on: Receiver<()>,
    /// Set when nobody watches any more.
    alone: bool,
}

thread_local! {
    static ACTOR: RefCell<Option<Actor>> = const { RefCell::new(None) };
}

/// Stops here, on a thread of this kind. Elsewhere nothing.
pub(super) fn stop() {
    ACTOR.with_borrow_mut(|actor| {
        let Some(actor) = actor.as_mut().filter(|actor| !actor.alone) else { return };
        actor.alone = actor.tell.send(Told::Stopped).is_err() || actor.go_on.recv().is_err();
    });
}

/// Whether this thread can be stopped.
pub(super) fn is_here() -> bool {
    ACTOR.with_borrow(Option::is_some)
}

/// A poll that has been stopped.
pub(super) struct Stopped {
    told: Receiver<Told>,
    go_on: Option<Sender<()>>,
}

/// Either it came to an end, or it stands somewhere.
pub(super) enum Act {
    Stopped(Stopped),
    Polled(Polled),
}

/// Polls a task once, on a thread that can be stopped.
pub(super) fn poll(task: BoxFuture<'static, Erased>, simulator: Arc<dyn Simulator>, waker: Waker) -> Act {
    let ((tell, told), (go_on, may_go_on)) = (channel(), channel());
    let runtime = Handle::current();
    std::thread::spawn(move || {
        let _runtime = runtime.enter();
        ACTOR.set(Some(Actor { tell: tell.clone(), go_on: may_go_on, alone: false }));
        let mut task = task;
        let polled = within(&simulator, || match task.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => Ok(output),
            Poll::Pending => Err(task),
        });
        ACTOR.set(None);
        drop(waker);
        let _ = tell.send(Told::Polled(polled));
    });
    wait(told, go_on)
}

fn wait(told: Receiver<Told>, go_on: Sender<()>) -> Act {
    match told.recv().expect("it tells how it ends") {
        Told::Stopped => Act::Stopped(Stopped { told, go_on: Some(go_on) }),
        Told::Polled(polled) => Act::Polled(polled),
    }
}

impl Stopped {
    /// Lets it go on.
    pub(super) fn go_on(mut self) -> Act {
        let go_on = self.go_on.take().expect("it is taken once");
        go_on.send(()).expect("it waits for this");
        let (_, closed) = channel();
        wait(std::mem::replace(&mut self.told, closed), go_on)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // It runs to the end of its poll, and stops nowhere any more.
        if self.go_on.take().is_some() {
            while let Ok(Told::Stopped) = self.told.recv() {}
        }
    }
}
